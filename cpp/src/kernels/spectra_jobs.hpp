// What entry points hand to the kernels of spectra. All sizes were checked.
#pragma once

#include "fft_plan.hpp"

namespace starskope::detail {

// Spectra of n_segment pieces of every series, each `grid->plan.n` or fewer rows long.
struct SpectrumJob {
    const FftGrid* grid = nullptr;
    const float* data = nullptr; // (n_time, n_series) and further segments, rows row_stride apart
    size_t n_time = 0;           // of one segment
    size_t n_series = 0;
    size_t row_stride = 0;
    size_t n_segment = 1;
    size_t segment_step = 0;                 // rows from one to the next
    const float* window = nullptr;           // (n_time,)
    const float* window_rows = nullptr;      // (grid->plan.n_row,): the same in the order of the rows
    const float* window_transform = nullptr; // (n_fft / 2 + 1,) complex, of the window, 0 where it is as good as that;
                                             // null: not known
    bool linear = false;                     // a straight line is taken off, not the mean alone
    bool density = false;                    // else a sine of amplitude A has power A^2
    double cadence = 1.0;                    // of density: in units of which it is told
    float* power = nullptr;                  // (n_segment, n_fft / 2 + 1, n_series), rows out_stride apart
    size_t out_stride = 0;
    float* scratch = nullptr; // 64-byte aligned, spectrum_scratch(*grid) floats
};

} // namespace starskope::detail
