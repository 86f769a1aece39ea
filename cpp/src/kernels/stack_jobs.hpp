// What entry points ask of the kernels that reduce series along time. Plain structs, as kernels.hpp says.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace starskope::detail {

// Time-major float32 values that lie anywhere, and which of them count. All sizes were checked by the entry point.
struct SeriesRows {
    const unsigned char* const* row; // (n_time) first byte of each row, at any address
    size_t n_time;
    size_t n_series;
    bool swapped;        // values in the other byte order
    const uint8_t* mask; // (n_time, n_series), rows mask_stride apart; not 0: missing. Null: nothing masked
    size_t mask_stride;
    const float* frame_weight; // (n_time), null: 1. Values whose weight is not above 0 and finite are missing
    const float* weight;       // (n_time, n_series), rows weight_stride apart; null: 1
    size_t weight_stride;
};

// Optional outputs are null; each holds one element per series.
struct ClipJob {
    SeriesRows series;
    double sigma_low;
    double sigma_high;
    int max_iters; // negative: until stable
    bool center_median;
    bool scale_mad;
    float* mean;
    float* median;
    float* std;
    int32_t* count;
    double* lower;     // of survivors: the values that are there with lower <= x <= upper. Null together with upper
    double* upper;     // clip writes them, survivors reads them (null: no bounds)
    uint8_t* rejected; // of survivors: (n_time, n_series), rows rejected_stride apart; 1: there and out of bounds
    size_t rejected_stride;
    float* scratch; // 64-byte aligned, clip_scratch(job) or moments_scratch floats
};

// Moments that more rows are added to, (n_series) each: how many values, their mean, the sum of squares about it.
struct AccumulateJob {
    SeriesRows series;
    double* count;
    double* mean;
    double* squares;
    float* scratch;
};

} // namespace starskope::detail
