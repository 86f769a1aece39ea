// Batch Fourier transforms along time.
#pragma once

#include "starskope/view.hpp"

namespace starskope {

inline constexpr std::size_t max_fft_length = std::size_t{1} << 26;

// Fourier transform of every series, padded with zeros to n_fft: X[k] = sum over j of x[j] exp(-2 pi i j k / n_fft).
//
// data       (n_time, n_series)             read only; a series with a value that is not finite gives NaN throughout
// real       (n_fft / 2 + 1, n_series)      written: rows k = 0 .. n_fft / 2
// imaginary  (n_fft / 2 + 1, n_series)      written
//
// Any length up to max_fft_length, n_fft >= n_time; each series is scaled by a power of two inside, so neighbours of
// any brightness may share a call. Outputs must not overlap the input or each other. Relative error in the L2 norm: a
// few units of float32 roundoff, growing like sqrt(log n); see tests/tolerances.py. Throws std::invalid_argument on
// sizes that do not fit, std::bad_alloc when scratch cannot be had.
void rfft(View2<const float> data, std::size_t n_fft, View2<float> real, View2<float> imaginary);

} // namespace starskope
