// What entry points hand to the kernels of Lomb-Scargle periodograms. All sizes were checked.
#pragma once

#include "fft_plan.hpp"

namespace starskope::detail {

constexpr size_t lomb_taps = 8; // elements of a transform that make one at a frequency between them

// How sums of samples times exp(-2 pi i j k / n_fft) follow from a transform of another length, by gridding: samples
// are multiplied by `lift`, put where `place` says and transformed; element k is the sum of taps[k][i] times element
// first[k] + i. Its phase counts from sample n_time / 2.
struct LombGrid {
    const FftGrid* exact;  // of length n_fft, for the weights that series share
    const FftGrid* fine;   // of a cheap length near 2 n_time, one residue
    const uint32_t* order; // (n_time,): 0, 1, 2, ...
    const uint32_t* place; // (fine->n_fft,): row of a block that takes sample j, from n_time on those that stay 0
    const float* lift;     // (n_time,)
    const int32_t* first;  // (n_fft / 2 + 1,)
    const float* taps;     // (n_fft / 2 + 1, lomb_taps)
};

// Lomb-Scargle periodograms: row k - 1 belongs to element k of the grid of n_fft.
struct LombScargleJob {
    const LombGrid* grid = nullptr;
    const float* data = nullptr; // (n_time, n_series), rows row_stride apart
    size_t n_time = 0;
    size_t n_series = 0;
    size_t row_stride = 0;
    const float* shared_weights = nullptr; // (n_time,), near 1 and never below 0
    const float* weights = nullptr;        // (n_time, n_series), rows weights_stride apart; null: the shared ones
    size_t weights_stride = 0;
    float* power = nullptr; // (n_freq, n_series), rows power_stride apart
    size_t n_freq = 0;
    size_t power_stride = 0;
    double* count = nullptr;  // (n_series,), points; may be null, and then is spread
    double* spread = nullptr; // (n_series,), weighted variance of the numbers of the points' rows
    float* scratch = nullptr; // 64-byte aligned, lomb_scargle_scratch floats
};

} // namespace starskope::detail
