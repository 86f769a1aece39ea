// What clipped and unclipped statistics share: how results are written, and when sums are not good enough.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Sums of squares are taken anew when corrections have left less than this part of what was summed.
constexpr double least_part = 1e-6;

// One NaN for "no data" on every processor: the sign of 0 / 0 differs.
STARSKOPE_INLINE Doubles known(Doubles values, Doubles n) {
    return n > 0.0 ? values : splat_double(__builtin_nan(""));
}

template <class T, class V>
STARSKOPE_INLINE void write(T* out, size_t series, size_t n_series, V values) {
    if (out != nullptr) {
        for (int i = 0; i < half; ++i) {
            if (series + size_t(i) < n_series) {
                out[series + size_t(i)] = T(values[i]);
            }
        }
    }
}

// Bounds between which the survivors lie: none where there is no survivor.
STARSKOPE_INLINE void write_bounds(const ClipJob& job, size_t series, Doubles lower, Doubles upper, Doubles n) {
    write(job.lower, series, job.series.n_series, n > 0.0 ? lower : splat_double(__builtin_inf()));
    write(job.upper, series, job.series.n_series, n > 0.0 ? upper : splat_double(-__builtin_inf()));
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
