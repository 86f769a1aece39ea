// What the kernels of the sky are handed. See kernels.hpp.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace starskope::detail {

// Row r is the sum of n_tap lines from start[r] on, line start[r] + k taken weight[k * n_row + r] times.
struct SurfaceRows {
    const float* line; // (n_line, n_col), rows line_stride apart; null for no surface
    size_t line_stride;
    const int64_t* start; // (n_row,)
    const float* weight;  // (n_tap, n_row), rows weight_stride apart
    size_t weight_stride;
    size_t n_tap;
};

struct BoxMediansJob {
    const float* image; // (n_row, n_col), rows row_stride apart
    size_t row_stride;
    const int64_t* row_edge;    // (n + 1,), rising
    const int64_t* column_edge; // (m + 1,), rising
    size_t n;
    size_t m;
    SurfaceRows surface;
    double sigma;
    float* median;  // (n, m)
    int32_t* count; // (n, m)
    float* scratch; // 64-byte aligned, sky_scratch(pixels of the largest box) floats
};

constexpr size_t longest_ring_run = 16;

// Neighbouring pixels of a ring, from (dy, dx) of its centre on.
struct RingRun {
    int32_t dy;
    int32_t dx;
    int32_t n; // 1 to longest_ring_run
};

struct Ring {
    size_t first_run;
    size_t last_run; // the one after the last
    int64_t reach;   // the last row or column from the centre that the ring may touch
};

struct RingMediansJob {
    const float* image; // (n_row, n_col), rows row_stride apart
    size_t n_row;
    size_t n_col;
    size_t row_stride;
    const int64_t* row; // (n_star,) within 2^30 of the image
    const int64_t* column;
    size_t n_star;
    const Ring* ring;
    const uint32_t* ring_of; // (n_star,)
    const RingRun* run;
    double sigma;
    float* median; // (n_star,)
    int32_t* count;
    float* scratch; // 64-byte aligned, sky_scratch((2 reach + 1)^2 + longest_ring_run) of the largest, in floats
};

struct SurfaceJob {
    const float* image; // (n_row, n_col), rows row_stride apart; null for 0
    size_t n_row;
    size_t n_col;
    size_t row_stride;
    SurfaceRows surface;
    float* out; // (n_row, n_col), rows out_stride apart; may be the image
    size_t out_stride;
};

// line (i, j) is the sum over k of weight (k, j) times knot (i, start[j] + k).
struct SurfaceLinesJob {
    const float* knot; // (n_line, n_knot), rows knot_stride apart
    size_t knot_stride;
    const int64_t* start; // (n_col,)
    const float* weight;  // (n_tap, n_col), rows weight_stride apart
    size_t weight_stride;
    size_t n_tap;
    size_t n_line;
    size_t n_col;
    float* line; // (n_line, n_col), rows line_stride apart
    size_t line_stride;
};

struct SurfaceValuesJob {
    SurfaceRows surface; // (n_row, n_col)
    size_t n_row;
    size_t n_col;
    const double* row; // (n_star,), NaN for nowhere
    const double* column;
    size_t n_star;
    double* value;
};

} // namespace starskope::detail
