// What entry points hand to the kernel of autocorrelations. All sizes were checked.
#pragma once

#include "fft_plan.hpp"

namespace starskope::detail {

struct AutocorrelationJob {
    const FftGrid* grid = nullptr; // without residues, of n_time + n_lag - 1 points or more
    const float* data = nullptr;   // (n_time, n_series), rows row_stride apart
    size_t n_time = 0;
    size_t n_series = 0;
    size_t row_stride = 0;
    const float* window = nullptr;      // (n_time,) ones
    const float* window_rows = nullptr; // (grid->plan.n_row,) ones
    bool unbiased = false;
    float* out = nullptr; // (n_lag, n_series), rows out_stride apart
    size_t n_lag = 0;
    size_t out_stride = 0;
    float* scratch = nullptr; // 64-byte aligned, autocorrelation_scratch(*grid) floats
};

} // namespace starskope::detail
