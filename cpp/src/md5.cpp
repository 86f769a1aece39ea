#include "starskope/md5.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>

#include "dispatch.hpp"

namespace starskope {
namespace {

using detail::md5_block_bytes;
using detail::md5_most_streams;

// Whole blocks of a piece below which meeting costs more than it saves.
constexpr std::size_t least_blocks = 16;
// Blocks between two looks at who came: some microseconds.
constexpr std::size_t blocks_at_once = 64;

void run(std::uint32_t* state, const unsigned char* data, std::size_t n_block) {
    detail::active().md5_blocks({.state = &state, .data = &data, .n_stream = 1, .n_block = n_block});
}

} // namespace

// Whoever finds nobody at work leads: it hashes its own piece and, from one look to the next, those of the threads that
// came meanwhile, which sleep. When its own piece is done it goes, and one of those whose pieces are not done leads on.
class Md5Lanes::Meeting {
  public:
    void run(std::uint32_t* state, const unsigned char* data, std::size_t n_block) {
        Piece piece{.state = state, .data = data, .n_left = n_block};
        std::unique_lock lock(mutex_);
        if (!is_led_) {
            is_led_ = true;
            lanes_[n_lane_++] = &piece;
        } else {
            (last_ != nullptr ? last_->next : first_) = &piece;
            last_ = &piece;
            piece.woken.wait(lock, [&] { return piece.turn != Turn::sleeps; });
            if (piece.turn == Turn::done) {
                return;
            }
        }
        while (piece.n_left > 0) {
            admit();
            advance(lock, &piece);
        }
        hand_over();
    }

  private:
    enum class Turn { sleeps, leads, done };

    // On the stack of the thread whose piece it is, which stays there while the piece is in lanes_ or in line.
    struct Piece {
        std::uint32_t* state;
        const unsigned char* data;
        std::size_t n_left;
        Turn turn = Turn::sleeps;
        std::condition_variable woken{};
        Piece* next = nullptr;
    };

    void admit() {
        while (first_ != nullptr && n_lane_ < md5_most_streams) {
            lanes_[n_lane_++] = first_;
            first_ = first_->next;
        }
        if (first_ == nullptr) {
            last_ = nullptr;
        }
    }

    // Hashes for a while with the lock released; nobody else touches lanes_ then. Wakes those whose pieces are done,
    // under the lock, so that none is gone before it was woken.
    void advance(std::unique_lock<std::mutex>& lock, const Piece* leader) {
        std::uint32_t* state[md5_most_streams];
        const unsigned char* data[md5_most_streams];
        std::size_t n_block = blocks_at_once;
        for (std::size_t i = 0; i < n_lane_; ++i) {
            state[i] = lanes_[i]->state;
            data[i] = lanes_[i]->data;
            n_block = std::min(n_block, lanes_[i]->n_left);
        }
        lock.unlock();
        detail::active().md5_blocks({.state = state, .data = data, .n_stream = n_lane_, .n_block = n_block});
        lock.lock();
        std::size_t n_kept = 0;
        for (std::size_t i = 0; i < n_lane_; ++i) {
            Piece* piece = lanes_[i];
            piece->data += md5_block_bytes * n_block;
            piece->n_left -= n_block;
            if (piece->n_left > 0) {
                lanes_[n_kept++] = piece;
            } else if (piece != leader) {
                piece->turn = Turn::done;
                piece->woken.notify_one();
            }
        }
        n_lane_ = n_kept;
    }

    // To the piece with most to do, so that the lead changes seldom.
    void hand_over() {
        admit();
        Piece** const end = lanes_ + n_lane_;
        Piece** const longest =
            std::max_element(lanes_, end, [](const Piece* a, const Piece* b) { return a->n_left < b->n_left; });
        if (longest == end) {
            is_led_ = false;
        } else {
            (*longest)->turn = Turn::leads;
            (*longest)->woken.notify_one();
        }
    }

    std::mutex mutex_;
    bool is_led_ = false; // else nobody is in lanes_ or in line
    Piece* lanes_[md5_most_streams];
    std::size_t n_lane_ = 0;
    Piece* first_ = nullptr; // of those in line
    Piece* last_ = nullptr;
};

Md5Lanes::Md5Lanes() : meeting_(std::make_unique<Meeting>()) {}

Md5Lanes::~Md5Lanes() = default;

Md5::Md5(Md5Lanes& lanes) : lanes_(&lanes), state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476} {}

void Md5::update(View1<const unsigned char> bytes) {
    if (bytes.data == nullptr && bytes.size != 0) {
        throw std::invalid_argument("bytes: null pointer for " + std::to_string(bytes.size) + " bytes");
    }
    if (bytes.size == 0) {
        return;
    }
    const std::size_t n_begun = n_byte_ % md5_block_bytes;
    n_byte_ += bytes.size;
    if (n_begun > 0) {
        const std::size_t n = std::min(bytes.size, md5_block_bytes - n_begun);
        std::memcpy(begun_.data() + n_begun, bytes.data, n);
        bytes.data += n;
        bytes.size -= n;
        if (n_begun + n < md5_block_bytes) {
            return;
        }
        run(state_.data(), begun_.data(), 1);
    }
    const std::size_t n_block = bytes.size / md5_block_bytes;
    if (n_block >= least_blocks) {
        lanes_->meeting_->run(state_.data(), bytes.data, n_block);
    } else if (n_block > 0) {
        run(state_.data(), bytes.data, n_block);
    }
    if (const std::size_t n_rest = bytes.size % md5_block_bytes; n_rest > 0) {
        std::memcpy(begun_.data(), bytes.data + bytes.size - n_rest, n_rest);
    }
}

std::array<unsigned char, 16> Md5::digest() const {
    // What was begun, one bit, zeros, and the number of bits in the last 8 bytes of a block.
    unsigned char end[2 * md5_block_bytes] = {};
    const std::size_t n_begun = n_byte_ % md5_block_bytes;
    std::memcpy(end, begun_.data(), n_begun);
    end[n_begun] = 0x80;
    const std::size_t n_block = n_begun < md5_block_bytes - 8 ? 1 : 2;
    for (std::size_t i = 0; i < 8; ++i) {
        end[md5_block_bytes * n_block - 8 + i] = static_cast<unsigned char>(8 * n_byte_ >> 8 * i);
    }
    std::array<std::uint32_t, 4> state = state_;
    run(state.data(), end, n_block);
    std::array<unsigned char, 16> digest;
    for (std::size_t i = 0; i < 16; ++i) {
        digest[i] = static_cast<unsigned char>(state[i / 4] >> 8 * (i % 4));
    }
    return digest;
}

} // namespace starskope
