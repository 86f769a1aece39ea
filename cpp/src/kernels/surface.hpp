// A smooth surface on the pixels of an image, from few lines: its value, and an image less it.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t most_taps = 4;
constexpr size_t narrow = 8;
typedef float Narrow __attribute__((vector_size(4 * narrow)));

// The lines and weights of one row.
struct Taps {
    const float* line[most_taps];
    float weight[most_taps];
};

STARSKOPE_INLINE Taps taps_of(const SurfaceRows& surface, size_t row) {
    Taps taps;
    for (size_t k = 0; k < most_taps; ++k) {
        // A tap that is not there is the first one, taken 0 times: it would be skipped by a branch per pixel.
        const size_t tap = k < surface.n_tap ? k : 0;
        taps.line[k] = surface.line + (size_t(surface.start[row]) + tap) * surface.line_stride;
        taps.weight[k] = k < surface.n_tap ? surface.weight[k * surface.weight_stride + row] : 0.0f;
    }
    return taps;
}

STARSKOPE_INLINE Floats surface_at(const Taps& taps, size_t column) {
    Floats value = splat(taps.weight[0]) * load<Floats>(taps.line[0] + column);
#pragma GCC unroll 3
    for (size_t k = 1; k < most_taps; ++k) {
        value = value + splat(taps.weight[k]) * load<Floats>(taps.line[k] + column);
    }
    return value;
}

STARSKOPE_INLINE float surface_once(const Taps& taps, size_t column) {
    float value = taps.weight[0] * taps.line[0][column];
    for (size_t k = 1; k < most_taps; ++k) {
        value = value + taps.weight[k] * taps.line[k][column];
    }
    return value;
}

// out[i] = image[i] - surface for n columns from `column` on; image null for the surface itself.
STARSKOPE_INLINE void subtract_row(const float* image, const Taps& taps, size_t column, size_t n, float* out) {
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        const Floats value = surface_at(taps, column + i);
        store(out + i, image == nullptr ? value : load<Floats>(image + i) - value);
    }
    for (; i < n; ++i) {
        const float value = surface_once(taps, column + i);
        out[i] = image == nullptr ? value : image[i] - value;
    }
}

// The same for whole groups of `narrow` columns: few pixels of an image that lies far away, and none beyond them.
STARSKOPE_INLINE void subtract_narrow(const float* image, const Taps& taps, size_t column, size_t n, float* out) {
    for (size_t i = 0; i < n; i += narrow) {
        const Narrow factor = taps.weight[0] - Narrow{};
        Narrow value = factor * load<Narrow>(taps.line[0] + column + i);
#pragma GCC unroll 3
        for (size_t k = 1; k < most_taps; ++k) {
            value = value + (taps.weight[k] - Narrow{}) * load<Narrow>(taps.line[k] + column + i);
        }
        const Narrow rest = load<Narrow>(image + i) - value;
        __builtin_memcpy(out + i, &rest, sizeof rest);
    }
}

// Asks for what `taps_of` and the rows after it read.
STARSKOPE_INLINE void fetch_taps(const SurfaceRows& surface, size_t row, size_t column, size_t n) {
    const float* const line = surface.line + size_t(surface.start[row]) * surface.line_stride + column;
    for (size_t k = 0; k < surface.n_tap; ++k) {
        __builtin_prefetch(surface.weight + k * surface.weight_stride + row);
        __builtin_prefetch(line + k * surface.line_stride);
        __builtin_prefetch(line + k * surface.line_stride + n - 1);
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
