#include "starskope/md5.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "dispatch.hpp"

using namespace starskope;

namespace {

using Digest = std::array<unsigned char, 16>;

// RFC 1321 word by word, with the table computed as it defines it.
Digest slow_md5(const unsigned char* data, std::size_t n_byte) {
    std::vector<unsigned char> all(data, data + n_byte);
    all.push_back(0x80);
    while (all.size() % 64 != 56) {
        all.push_back(0);
    }
    for (int i = 0; i < 8; ++i) {
        all.push_back(static_cast<unsigned char>((std::uint64_t{n_byte} * 8) >> 8 * i));
    }
    constexpr int turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    std::uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    for (std::size_t block = 0; block < all.size(); block += 64) {
        std::uint32_t x[16], a = state[0], b = state[1], c = state[2], d = state[3];
        for (std::size_t k = 0; k < 16; ++k) {
            const unsigned char* p = &all[block + 4 * k];
            x[k] =
                std::uint32_t{p[0]} | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16 | std::uint32_t{p[3]} << 24;
        }
        for (unsigned i = 0; i < 64; ++i) {
            const unsigned at[4] = {i, 5 * i + 1, 3 * i + 5, 7 * i};
            const std::uint32_t f[4] = {(b & c) | (~b & d), (b & d) | (c & ~d), b ^ c ^ d, c ^ (b | ~d)};
            const auto sine = static_cast<std::uint32_t>(std::floor(std::fabs(std::sin(i + 1.0)) * 4294967296.0));
            const std::uint32_t sum = a + f[i / 16] + x[at[i / 16] % 16] + sine;
            const int turn = turns[i / 16][i % 4];
            a = d, d = c, c = b;
            b += sum << turn | sum >> (32 - turn);
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    }
    Digest digest;
    for (std::size_t i = 0; i < 16; ++i) {
        digest[i] = static_cast<unsigned char>(state[i / 4] >> 8 * (i % 4));
    }
    return digest;
}

std::vector<unsigned char> bytes(std::size_t n, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<unsigned char> all(n);
    std::generate(all.begin(), all.end(), [&] { return static_cast<unsigned char>(random()); });
    return all;
}

std::string hex(const Digest& digest) {
    std::string text;
    for (const unsigned char byte : digest) {
        text += "0123456789abcdef"[byte / 16];
        text += "0123456789abcdef"[byte % 16];
    }
    return text;
}

Digest md5(const std::string& text) {
    Md5Lanes lanes;
    Md5 sum(lanes);
    sum.update({reinterpret_cast<const unsigned char*>(text.data()), text.size()});
    return sum.digest();
}

} // namespace

TEST(md5_of_the_texts_in_its_definition) {
    test::for_each_isa([](const std::string&) {
        CHECK(hex(md5("")) == "d41d8cd98f00b204e9800998ecf8427e");
        CHECK(hex(md5("a")) == "0cc175b9c0f1b6a831c399e269772661");
        CHECK(hex(md5("abc")) == "900150983cd24fb0d6963f7d28e17f72");
        CHECK(hex(md5("message digest")) == "f96b697d7cb7938d525a2f31aaf161d0");
        CHECK(hex(md5("abcdefghijklmnopqrstuvwxyz")) == "c3fcd3d76192e4007dfb496cca67e13b");
        CHECK(hex(md5("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")) ==
              "d174ab98d277d9f5a5611c2c9f419d9f");
        CHECK(hex(md5("1234567890123456789012345678901234567890123456789012345678901234567890"
                      "1234567890")) == "57edf4a22be3c955ac49da2e2107b67a");
    });
}

TEST(md5_of_every_length_in_two_pieces) {
    test::for_each_isa([](const std::string&) {
        const auto all = bytes(3000, 1);
        Md5Lanes lanes;
        for (std::size_t n = 0; n < 3000; n += n < 300 ? 1 : 97) {
            const Digest expected = slow_md5(all.data(), n);
            for (std::size_t first = 0; first <= n; first += 1 + n / 7) {
                Md5 sum(lanes);
                sum.update({all.data(), first});
                sum.digest(); // changes nothing
                sum.update({all.data() + first, n - first});
                CHECK(sum.digest() == expected);
            }
        }
    });
}

TEST(md5_lanes_agree_with_single_streams) {
    test::for_each_isa([](const std::string&) {
        for (std::size_t n_stream = 0; n_stream <= detail::md5_most_streams; ++n_stream) {
            for (const std::size_t n_block : {0, 1, 2, 7}) {
                std::vector<std::array<std::uint32_t, 4>> together(n_stream), single(n_stream);
                std::vector<std::vector<unsigned char>> data;
                std::vector<std::uint32_t*> states;
                std::vector<const unsigned char*> views;
                for (std::size_t i = 0; i < n_stream; ++i) {
                    data.push_back(bytes(64 * n_block + 1, 10 * i + n_block));
                    together[i] = single[i] = {std::uint32_t(i), 0xefcdab89, ~std::uint32_t(i), 0x10325476};
                    states.push_back(together[i].data());
                    views.push_back(data[i].data() + 1);
                    std::uint32_t* state = single[i].data();
                    detail::active().md5_blocks({&state, &views[i], 1, n_block});
                }
                detail::active().md5_blocks({states.data(), views.data(), n_stream, n_block});
                CHECK(together == single);
            }
        }
    });
}

// More threads than lanes, pieces and backlogs of all sizes, streams that are given up: whoever leads, every stream
// gets its own bytes in order, and nobody waits for ever.
TEST(md5_of_streams_in_many_threads) {
    test::for_each_isa([](const std::string&) {
        constexpr std::size_t n_thread = 40;
        for (const std::size_t backlog : {0, 63, 64, 8'000, 50'000, 1 << 20}) {
            Md5Lanes lanes(backlog);
            std::vector<Digest> found(n_thread), expected(n_thread);
            std::vector<std::thread> threads;
            for (std::size_t i = 0; i < n_thread; ++i) {
                threads.emplace_back([&, i] {
                    const auto all = bytes(100'000 + 37 * i, i);
                    expected[i] = slow_md5(all.data(), all.size());
                    std::mt19937_64 random(i);
                    for (int n_try = 0; n_try < 3; ++n_try) {
                        Md5 sum(lanes);
                        const std::size_t end = n_try < 2 ? random() % all.size() : all.size();
                        for (std::size_t at = 0; at < end;) {
                            const std::size_t most = random() % 3 == 0 ? 200 : 20'000;
                            const std::size_t n = std::min(end - at, std::size_t(random() % most));
                            sum.update({all.data() + at, n});
                            at += n;
                            if (random() % 10 == 0) {
                                sum.digest();
                            }
                        }
                        found[i] = n_try < 2 ? Digest{} : sum.digest();
                    }
                });
            }
            for (std::thread& thread : threads) {
                thread.join();
            }
            CHECK(found == expected);
        }
    });
}

// One thread feeds streams in turn, so that what meets in the lanes does not hang on the scheduler.
TEST(md5_of_streams_in_turn) {
    test::for_each_isa([](const std::string&) {
        for (const std::size_t n_stream : {2, 5, 16, 21}) {
            for (const std::size_t backlog : {64, 1'000, 20'000}) {
                Md5Lanes lanes(backlog);
                std::vector<std::unique_ptr<Md5>> sums;
                std::vector<std::vector<unsigned char>> data;
                for (std::size_t i = 0; i < n_stream; ++i) {
                    sums.push_back(std::make_unique<Md5>(lanes));
                    data.push_back(bytes(40'000 + 1'111 * i, i));
                }
                std::mt19937_64 random(n_stream);
                std::vector<std::size_t> at(n_stream);
                for (std::size_t n_done = 0; n_done < n_stream;) {
                    const std::size_t i = random() % n_stream;
                    const std::size_t n = std::min(data[i].size() - at[i], std::size_t(random() % 9'000));
                    n_done += n > 0 && at[i] + n == data[i].size();
                    sums[i]->update({data[i].data() + at[i], n});
                    at[i] += n;
                }
                sums.back().reset(); // with what it holds back
                for (std::size_t i = 0; i + 1 < n_stream; ++i) {
                    CHECK(sums[i]->digest() == slow_md5(data[i].data(), data[i].size()));
                }
            }
        }
    });
}

TEST(md5_refuses_bytes_that_are_nowhere) {
    Md5Lanes lanes;
    Md5 sum(lanes);
    CHECK_THROWS(std::invalid_argument, "7 bytes", sum.update({nullptr, 7}));
    CHECK_THROWS(std::invalid_argument, "backlog_bytes=1073741825", Md5Lanes(max_md5_backlog + 1));
    sum.update({nullptr, 0});
    CHECK(hex(sum.digest()) == "d41d8cd98f00b204e9800998ecf8427e");
}
