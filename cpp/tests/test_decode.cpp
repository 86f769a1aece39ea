#include "starskope/decode.hpp"

#include <cstdint>
#include <cstring>
#include <vector>

#include "check.hpp"

using namespace starskope;

namespace {

// Bit patterns that floating-point moves could spoil among them: signalling NaN, denormals, both zeros.
std::uint32_t pattern(std::size_t i) {
    constexpr std::uint32_t special[] = {0x7fa00001u, 0xffc12345u, 0x00000001u, 0x80000000u, 0x7f800000u};
    return i % 7 == 3 ? special[i % 5] : static_cast<std::uint32_t>(i * 2654435761u);
}

} // namespace

TEST(planes_of_every_length_and_alignment_keep_their_bits) {
    test::for_each_isa([](const std::string&) {
        for (std::size_t n_col = 1; n_col < 70; n_col += 3) {
            for (std::size_t offset = 0; offset < 5; ++offset) {
                const std::size_t n_row = 3, n = n_row * n_col;
                std::vector<unsigned char> bytes(offset + 4 * n);
                for (std::size_t i = 0; i < n; ++i) {
                    for (int byte = 0; byte < 4; ++byte) {
                        bytes[offset + 4 * i + std::size_t(byte)] =
                            static_cast<unsigned char>(pattern(i) >> (24 - 8 * byte));
                    }
                }
                std::vector<float> out(n_row * (n_col + 2), -1.0f); // rows two elements apart
                decode_plane({bytes.data(), bytes.size()}, offset, {out.data(), n_row, n_col, n_col + 2});
                bool same = true;
                for (std::size_t row = 0; row < n_row; ++row) {
                    for (std::size_t col = 0; col < n_col; ++col) {
                        std::uint32_t bits;
                        std::memcpy(&bits, &out[row * (n_col + 2) + col], 4);
                        same = same && bits == pattern(row * n_col + col);
                    }
                    same = same && out[row * (n_col + 2) + n_col] == -1.0f;
                }
                CHECK(same);
            }
        }
    });
}

TEST(a_plane_that_does_not_lie_within_the_bytes_is_refused) {
    std::vector<unsigned char> bytes(100);
    std::vector<float> out(25);
    const View2<float> plane{out.data(), 5, 5};
    decode_plane({bytes.data(), 100}, 0, plane);
    CHECK_THROWS(std::invalid_argument, "100 bytes", decode_plane({bytes.data(), 100}, 1, plane));
    CHECK_THROWS(std::invalid_argument, "5 x 5", decode_plane({bytes.data(), 99}, 0, plane));
    CHECK_THROWS(std::invalid_argument, "offset", decode_plane({bytes.data(), 100}, ~std::size_t{0} - 3, plane));
    CHECK_THROWS(std::invalid_argument, "bytes", decode_plane({nullptr, 100}, 0, plane));
    CHECK_THROWS(std::invalid_argument, "null", decode_plane({bytes.data(), 100}, 0, {nullptr, 5, 5}));
    CHECK_THROWS(std::invalid_argument, "apart", decode_plane({bytes.data(), 100}, 0, {out.data(), 5, 5, 4}));
    const std::size_t huge = std::size_t{1} << 62;
    CHECK_THROWS(std::invalid_argument, "bytes", decode_plane({bytes.data(), 100}, 0, {out.data(), huge, 4}));
    decode_plane({nullptr, 0}, 0, {nullptr, 0, 7});
}
