// Rows of frames into lanes: either byte order, any address; masked values and those without a weight become NaN.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

typedef unsigned char Bytes __attribute__((vector_size(4 * lanes)));
typedef unsigned char HalfBytes __attribute__((vector_size(4 * half)));
typedef unsigned char LaneBytes __attribute__((vector_size(lanes)));
typedef unsigned char HalfLaneBytes __attribute__((vector_size(half)));

STARSKOPE_INLINE Bytes turned(Bytes x) {
#if defined(__AVX512F__)
    return (Bytes)_mm512_shuffle_epi8(
        (__m512i)x, _mm512_broadcast_i32x4(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)));
#elif defined(__AVX2__)
    return (Bytes)_mm256_shuffle_epi8(
        (__m256i)x, _mm256_broadcastsi128_si256(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)));
#else
    return __builtin_shufflevector(x, x, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
#endif
}

STARSKOPE_INLINE uint32_t bits_at(const unsigned char* p, bool swapped) {
    uint32_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return swapped ? __builtin_bswap32(bits) : bits;
}

template <bool swapped>
STARSKOPE_INLINE Floats load_lanes(const unsigned char* p) {
    Bytes bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    if constexpr (swapped) {
        bytes = turned(bytes);
    }
    return (Floats)bytes;
}

STARSKOPE_INLINE bool any(Ints mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask(__m512i(mask), __m512i(mask)) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256(__m256i(mask), __m256i(mask));
#elif defined(__x86_64__)
    return !_mm_testz_si128(__m128i(mask), __m128i(mask));
#else
    int32_t bits = 0;
    for (int i = 0; i < lanes; ++i) {
        bits |= mask[i];
    }
    return bits != 0;
#endif
}

// Makes the compiler hold x in a register here.
STARSKOPE_INLINE void barrier(Floats& x) {
#if defined(__x86_64__)
    __asm__("" : "+v"(x));
#elif defined(__aarch64__)
    __asm__("" : "+w"(x));
#endif
}

// count + 1 where a <= b.
STARSKOPE_INLINE Ints count_at_most(Ints count, Floats a, Floats b) {
#if defined(__AVX512F__)
    return (Ints)_mm512_mask_add_epi32((__m512i)count, _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ), (__m512i)count,
                                       _mm512_set1_epi32(1));
#else
    return count - (a <= b);
#endif
}

STARSKOPE_INLINE Doubles lower_half(Floats x) {
#if defined(__AVX512F__)
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
#elif defined(__AVX2__)
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
#else
    return __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1), Doubles);
#endif
}

STARSKOPE_INLINE Doubles upper_half(Floats x) {
#if defined(__AVX512F__)
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
#elif defined(__AVX2__)
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
#else
    return __builtin_convertvector(__builtin_shufflevector(x, x, 2, 3), Doubles);
#endif
}

// The weight of `lanes` values of row t from series `first` on, n of which exist.
STARSKOPE_INLINE Floats weights(const SeriesRows& rows, size_t t, size_t first, size_t n) {
    Floats w = splat(rows.frame_weight != nullptr ? rows.frame_weight[t] : 1.0f);
    if (rows.weight != nullptr) {
        const float* from = rows.weight + t * rows.weight_stride + first;
        Floats own{};
        if (n >= size_t(lanes)) {
            own = load<Floats>(from);
        } else {
            __builtin_memcpy(&own, from, n * sizeof(float));
        }
        w *= own;
    }
    return w;
}

// Values of `lanes` series from `first` on, n of which exist, at time t; not finite: missing. `plain`: the job has
// neither mask nor weights.
template <bool swapped, bool plain>
STARSKOPE_INLINE Floats values(const SeriesRows& rows, size_t t, size_t first, size_t n) {
    const unsigned char* const from = rows.row[t] + first * sizeof(float);
    Floats x;
    if (n >= size_t(lanes)) {
        x = load_lanes<swapped>(from);
    } else {
        unsigned char part[sizeof(Floats)];
        __builtin_memset(part, 0xff, sizeof part); // NaN
        __builtin_memcpy(part, from, n * sizeof(float));
        x = load_lanes<swapped>(part);
    }
    if constexpr (!plain) {
        if (rows.mask != nullptr) {
            LaneBytes masked{};
            __builtin_memcpy(&masked, rows.mask + t * rows.mask_stride + first, n < size_t(lanes) ? n : size_t(lanes));
            x = __builtin_convertvector(masked, Ints) == 0 ? x : splat(__builtin_nanf(""));
        }
        if (rows.frame_weight != nullptr || rows.weight != nullptr) {
            const Floats w = weights(rows, t, first, n);
            x = (w > 0.0f) & (w < __builtin_inff()) ? x : splat(__builtin_nanf(""));
        }
    }
    return x;
}

// Lanes n and behind set to 0.
template <class V>
STARSKOPE_INLINE V behind_cleared(V x, size_t n) {
    Ints keep{};
    __builtin_memset(&keep, 0xff, n * sizeof(int32_t));
    return (V)((Ints)x & keep);
}

// Calls f with flags that are constants: whether the byte order is the other one, and whether nothing masks or weighs.
template <bool value>
struct Flag {
    static constexpr bool is = value;
};

template <class F>
STARSKOPE_INLINE void with_layout(const SeriesRows& rows, F f) {
    const bool plain = rows.mask == nullptr && rows.frame_weight == nullptr && rows.weight == nullptr;
    if (rows.swapped) {
        plain ? f(Flag<true>{}, Flag<true>{}) : f(Flag<true>{}, Flag<false>{});
    } else {
        plain ? f(Flag<false>{}, Flag<true>{}) : f(Flag<false>{}, Flag<false>{});
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
