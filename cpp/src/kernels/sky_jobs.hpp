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

struct RingMediansJob {
    const float* image; // (n_row, n_col), rows row_stride apart
    size_t n_row;
    size_t n_col;
    size_t row_stride;
    const int64_t* row; // (n_star,) within 2^30 of the image
    const int64_t* column;
    size_t n_star;
    double inner;
    double outer;
    int64_t reach; // the last row above or below the star that the ring may touch
    double sigma;
    float* median; // (n_star,)
    int32_t* count;
    int32_t* shape; // 2 (2 reach + 1) integers of scratch
    float* scratch; // 64-byte aligned, sky_scratch((2 reach + 1)^2) floats
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
