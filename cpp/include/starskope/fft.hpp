// Batch Fourier transforms along time, in float32 and float64.
//
// X[k] = factor * sum over j of x[j] exp(-+ 2 pi i j k / n_fft), - forward and + backward: factor 1 forward and
// 1 / n_fft backward give back what was. Any length up to max_fft_length; large primes cost about twice a smooth
// length. Outputs must not overlap the input. Relative error of each series in the L2 norm: a few units of roundoff of
// the type, growing like sqrt(log n_fft), of any brightness beside any other; see rtol_transform in
// tests/tolerances.py. A series with a number that is not finite has no transform: NaN throughout, or in complex ones
// NaN and infinities; the others do not feel it. All throw std::invalid_argument on sizes that do not fit,
// std::bad_alloc when scratch cannot be had.
#pragma once

#include <complex>

#include "starskope/view.hpp"

namespace starskope {

inline constexpr std::size_t max_fft_length = std::size_t{1} << 26;

enum class Direction { forward, backward };

// Complex series.
//
// data  (n_time, n_series)   read only, n_time <= n_fft; further times are 0
// out   (n_fft, n_series)    written
void fft(View2<const std::complex<float>> data, std::size_t n_fft, View2<std::complex<float>> out,
         Direction direction = Direction::forward, double factor = 1.0);
void fft(View2<const std::complex<double>> data, std::size_t n_fft, View2<std::complex<double>> out,
         Direction direction = Direction::forward, double factor = 1.0);

// Real series, forward: the other half are the conjugates of this one.
//
// data  (n_time, n_series)          read only, n_time <= n_fft; further times are 0
// out   (n_fft / 2 + 1, n_series)   written
void rfft(View2<const float> data, std::size_t n_fft, View2<std::complex<float>> out, double factor = 1.0);
void rfft(View2<const double> data, std::size_t n_fft, View2<std::complex<double>> out, double factor = 1.0);

// Real series, backward, from the half that rfft gives. Imaginary parts at zero frequency and at Nyquist are not read.
//
// data  (n_freq, n_series)   read only, n_freq <= n_fft / 2 + 1; further frequencies are 0
// out   (n_fft, n_series)    written
void irfft(View2<const std::complex<float>> data, std::size_t n_fft, View2<float> out, double factor = 1.0);
void irfft(View2<const std::complex<double>> data, std::size_t n_fft, View2<double> out, double factor = 1.0);

} // namespace starskope
