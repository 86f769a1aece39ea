// Halves of float32 vectors, as float64.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Halves of a vector. By shuffles: taking them from its memory would keep it there, in the middle of a loop too.
STARSKOPE_INLINE Doubles lower(Floats x) {
#if defined(__AVX512F__)
    return __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7), Doubles);
#elif defined(__AVX2__)
    return __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3), Doubles);
#else
    return __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1), Doubles);
#endif
}

STARSKOPE_INLINE Doubles upper(Floats x) {
#if defined(__AVX512F__)
    return __builtin_convertvector(__builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15), Doubles);
#elif defined(__AVX2__)
    return __builtin_convertvector(__builtin_shufflevector(x, x, 4, 5, 6, 7), Doubles);
#else
    return __builtin_convertvector(__builtin_shufflevector(x, x, 2, 3), Doubles);
#endif
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
