#include "simd.hpp"

#include <string.h>

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Planes of more bytes than this are written past the caches where whole lines can be: lines are not read before they
// are overwritten, and the bytes that come next keep their place.
constexpr size_t past_bytes = size_t{1} << 16;
constexpr size_t vector_bytes = 4 * lanes;

STARSKOPE_INLINE uint32_t native(const unsigned char* from) {
    uint32_t bits;
    memcpy(&bits, from, 4);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    bits = __builtin_bswap32(bits);
#endif
    return bits;
}

void decode_row(const unsigned char* __restrict from, float* __restrict to, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        const uint32_t bits = native(from + 4 * i);
        memcpy(to + i, &bits, 4);
    }
}

#if defined(__AVX2__)
STARSKOPE_INLINE void stream(float* to, const uint32_t* line) {
#if defined(__AVX512F__)
    _mm512_stream_si512((__m512i*)to, _mm512_loadu_si512(line));
#else
    _mm256_stream_si256((__m256i*)to, _mm256_loadu_si256((const __m256i*)line));
#endif
}

void decode_row_past(const unsigned char* __restrict from, float* __restrict to, size_t n) {
    const size_t off = (0 - (uintptr_t)to / 4) % lanes; // values before the first whole vector
    const size_t n_head = off < n ? off : n;
    decode_row(from, to, n_head);
    size_t i = n_head;
    for (; i + lanes <= n; i += lanes) {
        uint32_t line[lanes];
        for (int k = 0; k < lanes; ++k) {
            line[k] = native(from + 4 * (i + size_t(k)));
        }
        stream(to + i, line);
    }
    decode_row(from + 4 * i, to + i, n - i);
}
#endif

} // namespace

void decode_plane(const unsigned char* bytes, float* out, size_t n_row, size_t n_col, size_t out_stride) {
    if (out_stride == n_col) { // one long row: no remainders
        n_col *= n_row;
        n_row = 1;
    }
#if defined(__AVX2__)
    if (n_row * n_col * 4 > past_bytes && n_col * 4 >= 4 * vector_bytes) {
        for (size_t row = 0; row < n_row; ++row) {
            decode_row_past(bytes + row * n_col * 4, out + row * out_stride, n_col);
        }
        _mm_sfence();
        return;
    }
#endif
    for (size_t row = 0; row < n_row; ++row) {
        decode_row(bytes + row * n_col * 4, out + row * out_stride, n_col);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
