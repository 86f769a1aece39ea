// Per-series statistics of time-major frames, with or without sigma clipping, and moments that grow by frames.
#pragma once

#include <cstdint>

#include "starskope/view.hpp"

namespace starskope {

enum class Center { mean, median };
enum class Scale { std, mad };
enum class ByteOrder { native, big };

inline constexpr int until_stable = -1;

struct Clip {
    double sigma_low = 3.0;  // > 0; infinity never rejects on that side
    double sigma_high = 3.0; // > 0
    int max_iters = 5;       // 0: no clipping; until_stable: until nothing changes
    Center center = Center::median;
    Scale scale = Scale::std; // mad: 1.4826 times the median absolute deviation from the median
};

// Time-major float32 values wherever they lie, such as the planes of FITS files in memory, and which of them count.
struct Frames {
    View1<const unsigned char* const> rows; // (n_time) first byte of each row of n_series values, at any address
    std::size_t n_series = 0;
    ByteOrder order = ByteOrder::native;
    View2<const std::uint8_t> mask = {}; // (n_time, n_series), optional: not 0 is missing
    // Weights, optional: of each row (n_time), of each value (n_time, n_series); both multiply. A value whose weight is
    // not above 0 and finite is missing.
    View1<const float> frame_weight = {};
    View2<const float> weight = {};
};

// What to write, one element per series; a null view is not computed.
struct SeriesStatistics {
    View1<float> mean = {};
    View1<float> median = {};
    View1<float> std = {}; // population standard deviation (ddof 0)
    View1<std::int32_t> count = {};
    View2<std::uint8_t> rejected = {}; // (n_time, n_series): 1 where a value is there and was clipped, else 0
};

// Statistics of the survivors of every series.
//
// frames  read only; NaN and infinities are missing. Outputs must not overlap them.
//
// Clipping is that of astropy.stats.sigma_clip(axis=0, stdfunc="std" or "mad_std"): each iteration takes centre and
// scale of the survivors and drops x < centre - sigma_low * scale and x > centre + sigma_high * scale, until nothing
// changes, nothing is left or max_iters is reached. As there, the bounds of the last iteration decide: a value dropped
// earlier that lies within them counts again. Where no value survives, count is 0 and the rest NaN.
// Weights decide the mean sum(w x) / sum(w) and the standard deviation about it, not who survives nor the median.
// Sums are float64 about a reference near the data. Every series is computed alone, so the result does not depend on
// how series are split into calls.
// Throws std::invalid_argument on bad settings or sizes, std::bad_alloc when scratch of about 200 * n_time bytes (256
// where time is short) cannot be had.
void series_statistics(const Frames& frames, const Clip& clip, const SeriesStatistics& out);

// data  (n_time, n_series)
void series_statistics(View2<const float> data, const Clip& clip, const SeriesStatistics& out);

// Moments of series of which frames arrive in any number of blocks, (n_series) each. All zero: no value yet.
struct SeriesMoments {
    View1<double> count;   // how many values: whole numbers
    View1<double> mean;    // 0 where there is none
    View1<double> squares; // sum of squared deviations from the mean
};

// Adds the values of `frames` (no weights) to the moments. A block costs one pass over its rows and one over the
// moments: blocks of 16 frames and more run at the speed of memory.
// Throws std::invalid_argument on bad sizes and on weights.
void add_frames(const Frames& frames, const SeriesMoments& moments);

// Adds the moments of other values of the same series (Chan, Golub & LeVeque 1983). `from` must not overlap `into`.
void merge_moments(const SeriesMoments& into, const SeriesMoments& from);

} // namespace starskope
