// Vectors of the instruction set at hand, for kernels that put neighbouring series into lanes. All internal: see
// variant.hpp.
#pragma once

#include "variant.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define STARSKOPE_INLINE static inline __attribute__((always_inline))

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
constexpr int max_stages = 4; // 2^4 rows of a sorting pass stay in the 32 registers
#elif defined(__AVX2__)
constexpr int lanes = 8;
constexpr int max_stages = 3;
#elif defined(__aarch64__)
constexpr int lanes = 4;
constexpr int max_stages = 4;
#else
constexpr int lanes = 4;
constexpr int max_stages = 3;
#endif
constexpr int half = lanes / 2;

typedef float Floats __attribute__((vector_size(4 * lanes)));
typedef int32_t Ints __attribute__((vector_size(4 * lanes)));
// Half as many lanes, as wide in float64 as Floats in float32.
typedef float HalfFloats __attribute__((vector_size(4 * half)));
typedef double Doubles __attribute__((vector_size(8 * half)));
typedef int64_t Longs __attribute__((vector_size(8 * half)));
typedef int32_t HalfInts __attribute__((vector_size(4 * half)));

template <class V>
STARSKOPE_INLINE V load(const float* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

STARSKOPE_INLINE void store(float* p, Floats v) {
    __builtin_memcpy(p, &v, sizeof v);
}

// `half` float64 values in memory.
STARSKOPE_INLINE Doubles load_wide(const double* p) {
    Doubles v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

STARSKOPE_INLINE void store_wide(double* p, Doubles v) {
    __builtin_memcpy(p, &v, sizeof v);
}

// `half` float32 values in memory, as float64.
STARSKOPE_INLINE Doubles load_doubles(const float* p) {
#if defined(__AVX512F__)
    return _mm512_cvtps_pd(load<HalfFloats>(p)); // GCC would convert two halves of it
#else
    return __builtin_convertvector(load<HalfFloats>(p), Doubles);
#endif
}

STARSKOPE_INLINE Floats splat(float x) {
    return x - Floats{};
}

STARSKOPE_INLINE Doubles splat_double(double x) {
    return x - Doubles{};
}

STARSKOPE_INLINE Floats lesser(Floats a, Floats b) {
#if defined(__AVX512F__)
    return _mm512_min_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_min_ps(a, b);
#elif defined(__x86_64__)
    return _mm_min_ps(a, b);
#else
    return a < b ? a : b;
#endif
}

STARSKOPE_INLINE Floats greater(Floats a, Floats b) {
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#elif defined(__x86_64__)
    return _mm_max_ps(a, b);
#else
    return a > b ? a : b;
#endif
}

STARSKOPE_INLINE bool any(Longs mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask(__m512i(mask), __m512i(mask)) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256(__m256i(mask), __m256i(mask));
#elif defined(__x86_64__)
    return !_mm_testz_si128(__m128i(mask), __m128i(mask));
#else
    int64_t bits = 0;
    for (int i = 0; i < half; ++i) {
        bits |= mask[i];
    }
    return bits != 0;
#endif
}

STARSKOPE_INLINE Doubles square_root(Doubles x) {
#if defined(__AVX512F__)
    return _mm512_sqrt_pd(x);
#elif defined(__AVX2__)
    return _mm256_sqrt_pd(x);
#elif defined(__x86_64__)
    return _mm_sqrt_pd(x);
#else
    for (int i = 0; i < half; ++i) {
        x[i] = __builtin_sqrt(x[i]);
    }
    return x;
#endif
}

// a * b + c and a * b - c, rounded once where the processor can: v2 rounds twice and may differ in the last bit.
#if defined(__AVX512F__)
STARSKOPE_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
    return _mm512_fmadd_ps(a, b, c);
}
STARSKOPE_INLINE Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return _mm512_fmsub_ps(a, b, c);
}
STARSKOPE_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
    return _mm512_fmadd_pd(a, b, c);
}
STARSKOPE_INLINE Doubles multiply_subtract(Doubles a, Doubles b, Doubles c) {
    return _mm512_fmsub_pd(a, b, c);
}
#elif defined(__FMA__)
STARSKOPE_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
    return _mm256_fmadd_ps(a, b, c);
}
STARSKOPE_INLINE Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return _mm256_fmsub_ps(a, b, c);
}
STARSKOPE_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
    return _mm256_fmadd_pd(a, b, c);
}
STARSKOPE_INLINE Doubles multiply_subtract(Doubles a, Doubles b, Doubles c) {
    return _mm256_fmsub_pd(a, b, c);
}
#elif defined(__aarch64__)
STARSKOPE_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
    return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
STARSKOPE_INLINE Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return multiply_add(a, b, -c);
}
STARSKOPE_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
    return (Doubles)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
STARSKOPE_INLINE Doubles multiply_subtract(Doubles a, Doubles b, Doubles c) {
    return multiply_add(a, b, -c);
}
#else
template <class V>
STARSKOPE_INLINE V multiply_add(V a, V b, V c) {
    return a * b + c;
}
template <class V>
STARSKOPE_INLINE V multiply_subtract(V a, V b, V c) {
    return a * b - c;
}
#endif

// Lanes 1, 2, ... of a, then lane 0 of b.
STARSKOPE_INLINE Doubles shifted(Doubles a, Doubles b) {
#if defined(__AVX512F__)
    return __builtin_shufflevector(a, b, 1, 2, 3, 4, 5, 6, 7, 8);
#elif defined(__AVX2__)
    return __builtin_shufflevector(a, b, 1, 2, 3, 4);
#else
    return __builtin_shufflevector(a, b, 1, 2);
#endif
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
