// Power spectra, spectrograms and Lomb-Scargle periodograms of series on one regular cadence.
#pragma once

#include "starskope/fft.hpp"
#include "starskope/view.hpp"

namespace starskope {

enum class Trend { constant, linear };
enum class Normalization { amplitude, density };

// What is taken off every series before it is transformed, fitted to its points alike, and how power is told.
struct SpectrumOptions {
    Trend trend = Trend::constant;
    Normalization normalization = Normalization::amplitude;
    double cadence = 1.0; // of a density: time from sample to sample, above 0
};

// Power spectrum of every series.
//
// data    (n_time, n_series)          read only; NaN and infinities are missing
// window  (n_time,)                   finite; null: ones
// n_fft                               padded length, n_time <= n_fft <= max_fft_length, at least 1
// out     (n_fft / 2 + 1, n_series)   written; NaN throughout where a series has no point, or only points of window 0
//
// The mean over the points that are there, or the line that fits them best, is subtracted, missing points become 0, the
// window is applied:
//     out[k] = s[k] |sum_j window[j] x[j] exp(-2 pi i j k / n_fft)|^2 / scale
// Amplitude: scale is (sum of window over the points there)^2 and s is 4, 1 at zero frequency and at Nyquist: a sine of
// amplitude A on the grid has power A^2. Density: scale is (sum of window^2 over the points there) / cadence and s is
// 2, 1 at zero frequency and at Nyquist: the sum of all rows over n_fft cadence is the variance. Outputs must not
// overlap inputs. Throws std::invalid_argument, std::bad_alloc.
void power_spectrum(View2<const float> data, View1<const float> window, std::size_t n_fft, View2<float> out,
                    const SpectrumOptions& options = {});

// Power spectra of segments: segment i holds rows i * step .. i * step + segment - 1, and its spectrum is the
// power_spectrum of these rows, with its own mean or line and its own missing points.
//
// data    (n_time, n_series)                       read only, n_time >= segment >= 1
// window  (segment,)                               null: ones
// out     (n_segment * (segment / 2 + 1), n_series)  written; n_segment = 1 + (n_time - segment) / step, and rows of
//                                                    one segment follow each other
void spectrogram(View2<const float> data, View1<const float> window, std::size_t segment, std::size_t step,
                 View2<float> out, const SpectrumOptions& options = {});

// Autocorrelation of every series about its mean.
//
// data  (n_time, n_series)   read only; NaN and infinities are missing
// out   (n_lag, n_series)    written, 1 <= n_lag <= n_time; NaN throughout for a series without scatter
//
//     out[k] = sum_j d[j] d[j + k] / sum_j d[j]^2
// over the pairs of points that are there, so 1 at k = 0; `unbiased`: means in place of sums, NaN without a pair.
// Outputs must not overlap inputs. Throws std::invalid_argument, std::bad_alloc.
void autocorrelation(View2<const float> data, View2<float> out, bool unbiased = false);

// Relative weights of points, for all series or for each: either may be null, both null means equal weights.
struct PointWeights {
    View1<const float> shared;      // (n_time,)
    View2<const float> each_series; // (n_time, n_series)
};

// Where the points of each series lie: both null, or both written.
struct PointExtent {
    View1<double> count;  // (n_series,), points that are there
    View1<double> spread; // (n_series,), weighted variance of the numbers of their rows; 0 without a point
};

// Lomb-Scargle periodogram of every series: floating mean, standard normalisation.
//
// data     (n_time, n_series)   read only; NaN and infinities are missing
// weights                       relative, 1 / error^2; a point whose weight is not finite or not above 0 is missing
// n_fft                         sets the grid: row k stands for frequency (k + 1) / n_fft per cadence; >= n_time
// out      (n_freq, n_series)   written, n_freq <= n_fft / 2: part of the weighted variance that c + a cos + b sin
//                               takes away, 0 to 1; NaN throughout for fewer than 4 points or no variance
//
// Equal to the least-squares fit at every frequency, for each series' own points and weights; where cosine and sine
// cannot be told apart (at Nyquist) the one that is left is fitted. Zechmeister & Kürster 2009, A&A 496, 577.
// Throws std::invalid_argument, std::bad_alloc.
void lomb_scargle(View2<const float> data, const PointWeights& weights, std::size_t n_fft, View2<float> out,
                  const PointExtent& extent = {});

} // namespace starskope
