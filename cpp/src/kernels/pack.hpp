// Moving values between lanes: blocks turned so that lanes become rows, and some lanes of a vector packed together.
#pragma once

#include "frames.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Lanes 0, 1, ... of a and b in turn, and those of their upper halves.
STARSKOPE_INLINE void interleave(Floats a, Floats b, Floats& low, Floats& high) {
#if defined(__AVX512F__)
    low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
    low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

// Turns n rows of `lanes` values into `lanes` rows of n values, one after the other in the same registers. The index of
// a value is (row, lane) in bits; each round moves the first bit behind the last.
template <int n>
STARSKOPE_INLINE void turn(Floats (&r)[n]) {
#pragma GCC unroll 4
    for (int size = 1; size < n; size *= 2) {
        Floats s[n];
#pragma GCC unroll 16
        for (int i = 0; i < n / 2; ++i) {
            interleave(r[i], r[i + n / 2], s[2 * i], s[2 * i + 1]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < n; ++i) {
            r[i] = s[i];
        }
    }
}

// A bit per lane.
#if defined(__AVX512F__)
typedef __mmask16 Bits;
#else
typedef unsigned Bits;
#endif

STARSKOPE_INLINE Bits bits_of(Ints mask) {
#if defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
    return unsigned(_mm256_movemask_ps((__m256)mask));
#elif defined(__x86_64__)
    return unsigned(_mm_movemask_ps((__m128)mask));
#else
    unsigned bits = 0;
    for (int i = 0; i < lanes; ++i) {
        bits |= unsigned(mask[i] & 1) << i;
    }
    return bits;
#endif
}

// Lanes where a < b. False where one is NaN.
STARSKOPE_INLINE Bits bits_below(Floats a, Floats b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
#else
    return bits_of(a < b);
#endif
}

STARSKOPE_INLINE Bits bits_at_most(Floats a, Floats b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
#else
    return bits_of(a <= b);
#endif
}

STARSKOPE_INLINE size_t n_set(Bits bits) {
    return size_t(__builtin_popcount(bits));
}

#if !defined(__AVX512F__)
// Which lanes come first for each combination of bits.
struct PackOrder {
    uint8_t lane[1 << lanes][lanes];
    constexpr PackOrder() : lane() {
        for (int bits = 0; bits < 1 << lanes; ++bits) {
            for (int i = 0, n = 0; i < lanes; ++i) {
                if ((bits >> i & 1) != 0) {
                    lane[bits][n++] = uint8_t(i);
                }
            }
        }
    }
};
constexpr PackOrder pack_order;
#endif

// Writes the lanes of x that are set one after the other, and something behind them, up to `lanes` values in all.
// Returns where the next ones go.
STARSKOPE_INLINE float* append(float* to, Floats x, Bits bits) {
#if defined(__AVX512F__)
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps(bits, x));
#elif defined(__AVX2__)
    const __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)pack_order.lane[bits]));
    _mm256_storeu_ps(to, _mm256_permutevar8x32_ps(x, order));
#else
    for (int i = 0; i < lanes; ++i) {
        to[i] = x[pack_order.lane[bits][i]];
    }
#endif
    return to + n_set(bits);
}

// The same where seldom more than `few` lanes are set, 4 or 8: a short store crosses fewer cache lines.
template <size_t few>
STARSKOPE_INLINE float* append_few(float* to, Floats x, Bits bits) {
#if defined(__AVX512F__)
    static_assert(few == 4 || few == 8);
    const Floats packed = _mm512_maskz_compress_ps(bits, x);
    const size_t n = n_set(bits);
    if (__builtin_expect(n > few, 0)) {
        _mm512_storeu_ps(to, packed);
    } else if constexpr (few == 4) {
        _mm_storeu_ps(to, _mm512_castps512_ps128(packed));
    } else {
        _mm256_storeu_ps(to, _mm512_castps512_ps256(packed));
    }
    return to + n;
#else
    return append(to, x, bits);
#endif
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
