#include "starskope/md5.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>

#include <unistd.h>

#include "dispatch.hpp"

namespace starskope {
namespace {

using detail::md5_block_bytes;
using detail::md5_most_streams;

// Blocks between two looks at who came or wants room.
constexpr std::size_t blocks_at_once = 256;

void run(std::uint32_t* state, const unsigned char* data, std::size_t n_block) {
    detail::active().md5_blocks({.state = &state, .data = &data, .n_stream = 1, .n_block = n_block});
}

std::size_t checked(std::size_t backlog_bytes) {
    if (backlog_bytes > max_md5_backlog) {
        throw std::invalid_argument("backlog_bytes=" + std::to_string(backlog_bytes) + ": expected at most " +
                                    std::to_string(max_md5_backlog));
    }
    return backlog_bytes;
}

} // namespace

struct Md5::Stream {
    Md5Lanes::Meeting& meeting;
    std::uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    std::uint64_t n_byte = 0;
    unsigned char begun[md5_block_bytes] = {}; // the block that is not yet full
    // Blocks in a ring: those not yet hashed begin at `first`. Whoever leads hashes them, the stream's own thread adds.
    std::unique_ptr<unsigned char[], detail::AlignedDelete> backlog{};
    std::size_t first = 0, n_block = 0;
    Stream *before = nullptr, *behind = nullptr; // in the list of those with a backlog
    // Whether its thread sleeps, until the backlog is no longer than `enough` or nobody leads.
    bool sleeps = false;
    std::size_t enough = 0;
    std::condition_variable woken{};
};

// Backlogs, their list and the states of streams in it are guarded by the mutex, but for what the leader hashes and
// what a thread adds behind its own backlog while the mutex is free.
class Md5Lanes::Meeting {
  public:
    explicit Meeting(std::size_t n_ring) : n_ring_(n_ring) {}

    void enter() {
        const std::lock_guard lock(mutex_);
        ++n_stream_;
    }

    void leave(Md5::Stream& stream) {
        if (getpid() != owner_) {
            return; // a child of a fork, where nobody may be left to release the mutex
        }
        std::unique_lock lock(mutex_);
        wait(lock, stream, 0);
        if (stream.n_block > 0) {
            unlist(stream);
        }
        --n_stream_;
        wake_a_leader();
    }

    // Makes sure that add finds memory.
    void provide(Md5::Stream& stream) const {
        if (stream.backlog == nullptr && n_ring_ > 0) {
            stream.backlog = detail::make_scratch<unsigned char>(md5_block_bytes * n_ring_);
        }
    }

    void add(Md5::Stream& stream, const unsigned char* data, std::size_t n_block) {
        std::unique_lock lock(mutex_);
        if (n_ring_ == 0 || (n_stream_ == 1 && stream.n_block == 0)) { // nobody but this thread can list it
            lock.unlock();
            run(stream.state, data, n_block);
            return;
        }
        while (n_block > 0) {
            if (stream.n_block == n_ring_) {
                shorten(lock, stream, n_ring_ - std::min(n_block, n_ring_));
            }
            const std::size_t end = (stream.first + stream.n_block) % n_ring_;
            const std::size_t n = std::min({n_block, n_ring_ - stream.n_block, n_ring_ - end});
            lock.unlock();
            std::memcpy(stream.backlog.get() + md5_block_bytes * end, data, md5_block_bytes * n);
            lock.lock();
            if (stream.n_block == 0) {
                list(stream);
            }
            stream.n_block += n;
            data += md5_block_bytes * n;
            n_block -= n;
        }
    }

    // Returns when all that was added is hashed.
    void finish(Md5::Stream& stream) {
        std::unique_lock lock(mutex_);
        shorten(lock, stream, 0);
    }

  private:
    // Leads, or waits for who leads, until the backlog has no more blocks than `enough`.
    void shorten(std::unique_lock<std::mutex>& lock, Md5::Stream& stream, std::size_t enough) {
        wait(lock, stream, enough);
        if (stream.n_block > enough) {
            is_led_ = true;
            while (stream.n_block > enough) {
                advance(lock, stream, stream.n_block - enough);
            }
            is_led_ = false;
        }
        wake_a_leader();
    }

    // Hashes up to n_block blocks of `leader` and as many of every other backlog, with the mutex released.
    void advance(std::unique_lock<std::mutex>& lock, Md5::Stream& leader, std::size_t n_block) {
        Md5::Stream* lane[md5_most_streams] = {&leader};
        std::size_t n_lane = 1;
        for (Md5::Stream* other = listed_; other != nullptr && n_lane < md5_most_streams; other = other->behind) {
            if (other != &leader) {
                lane[n_lane++] = other;
            }
        }
        std::uint32_t* state[md5_most_streams];
        const unsigned char* data[md5_most_streams];
        n_block = std::min(n_block, blocks_at_once);
        for (std::size_t i = 0; i < n_lane; ++i) {
            state[i] = lane[i]->state;
            data[i] = lane[i]->backlog.get() + md5_block_bytes * lane[i]->first;
            n_block = std::min({n_block, lane[i]->n_block, n_ring_ - lane[i]->first});
        }
        lock.unlock();
        detail::active().md5_blocks({.state = state, .data = data, .n_stream = n_lane, .n_block = n_block});
        lock.lock();
        for (std::size_t i = 0; i < n_lane; ++i) {
            lane[i]->first = (lane[i]->first + n_block) % n_ring_;
            lane[i]->n_block -= n_block;
            if (lane[i]->n_block == 0) {
                unlist(*lane[i]);
            }
            if (lane[i]->sleeps && lane[i]->n_block <= lane[i]->enough) {
                lane[i]->woken.notify_one();
            }
        }
    }

    void wait(std::unique_lock<std::mutex>& lock, Md5::Stream& stream, std::size_t enough) {
        stream.enough = enough;
        stream.sleeps = true;
        stream.woken.wait(lock, [&] { return !is_led_ || stream.n_block <= enough; });
        stream.sleeps = false;
    }

    // One that sleeps leads on, or does the same if it need not: so all who sleep while nobody leads are woken.
    void wake_a_leader() {
        for (Md5::Stream* stream = is_led_ ? nullptr : listed_; stream != nullptr; stream = stream->behind) {
            if (stream->sleeps) {
                stream->woken.notify_one();
                return;
            }
        }
    }

    void list(Md5::Stream& stream) {
        stream.before = nullptr;
        stream.behind = listed_;
        if (listed_ != nullptr) {
            listed_->before = &stream;
        }
        listed_ = &stream;
    }

    void unlist(Md5::Stream& stream) {
        (stream.before != nullptr ? stream.before->behind : listed_) = stream.behind;
        if (stream.behind != nullptr) {
            stream.behind->before = stream.before;
        }
    }

    const std::size_t n_ring_; // blocks of a backlog
    const pid_t owner_ = getpid();
    std::mutex mutex_;
    std::size_t n_stream_ = 0;
    bool is_led_ = false;
    Md5::Stream* listed_ = nullptr;
};

Md5Lanes::Md5Lanes(std::size_t backlog_bytes)
    : meeting_(std::make_unique<Meeting>(checked(backlog_bytes) / md5_block_bytes)) {}

Md5Lanes::~Md5Lanes() = default;

Md5::Md5(Md5Lanes& lanes) : stream_(new Stream{.meeting = *lanes.meeting_}) {
    stream_->meeting.enter();
}

Md5::~Md5() {
    stream_->meeting.leave(*stream_);
}

void Md5::update(View1<const unsigned char> bytes) {
    if (bytes.data == nullptr && bytes.size != 0) {
        throw std::invalid_argument("bytes: null pointer for " + std::to_string(bytes.size) + " bytes");
    }
    Stream& stream = *stream_;
    const std::size_t n_begun = stream.n_byte % md5_block_bytes;
    if (n_begun + bytes.size >= md5_block_bytes) {
        stream.meeting.provide(stream);
    }
    stream.n_byte += bytes.size;
    if (n_begun > 0) {
        const std::size_t n = std::min(bytes.size, md5_block_bytes - n_begun);
        std::copy_n(bytes.data, n, stream.begun + n_begun);
        bytes.data += n;
        bytes.size -= n;
        if (n_begun + n < md5_block_bytes) {
            return;
        }
        stream.meeting.add(stream, stream.begun, 1);
    }
    if (const std::size_t n_block = bytes.size / md5_block_bytes; n_block > 0) {
        stream.meeting.add(stream, bytes.data, n_block);
    }
    const std::size_t n_rest = bytes.size % md5_block_bytes;
    std::copy_n(bytes.data + (bytes.size - n_rest), n_rest, stream.begun);
}

std::array<unsigned char, 16> Md5::digest() {
    stream_->meeting.finish(*stream_);
    // What was begun, one bit, zeros, and the number of bits in the last 8 bytes of a block.
    unsigned char end[2 * md5_block_bytes] = {};
    const std::size_t n_begun = stream_->n_byte % md5_block_bytes;
    std::copy_n(stream_->begun, n_begun, end);
    end[n_begun] = 0x80;
    const std::size_t n_block = n_begun < md5_block_bytes - 8 ? 1 : 2;
    for (std::size_t i = 0; i < 8; ++i) {
        end[md5_block_bytes * n_block - 8 + i] = static_cast<unsigned char>(8 * stream_->n_byte >> 8 * i);
    }
    std::uint32_t state[4];
    std::copy_n(stream_->state, 4, state);
    run(state, end, n_block);
    std::array<unsigned char, 16> digest;
    for (std::size_t i = 0; i < 16; ++i) {
        digest[i] = static_cast<unsigned char>(state[i / 4] >> 8 * (i % 4));
    }
    return digest;
}

} // namespace starskope
