// Per-series statistics of a time-major block, with or without sigma clipping.
#pragma once

#include <cstdint>

#include "starskope/view.hpp"

namespace starskope {

enum class Center { mean, median };

inline constexpr int until_stable = -1;

struct Clip {
    double sigma_low = 3.0;  // > 0; infinity never rejects on that side
    double sigma_high = 3.0; // > 0
    int max_iters = 5;       // 0: no clipping; until_stable: until nothing changes
    Center center = Center::median;
};

// What to write, one element per series; a null view is not computed.
struct SeriesStatistics {
    View1<float> mean;
    View1<float> median;
    View1<float> std; // population standard deviation (ddof 0)
    View1<std::int32_t> count;
};

// Statistics of the survivors of every series.
//
// data  (n_time, n_series)  read only; NaN and infinities are missing. Outputs must not overlap it.
//
// Clipping is that of astropy.stats.sigma_clip(axis=0, stdfunc="std"): each iteration takes centre and population
// standard deviation of the survivors and drops x < centre - sigma_low * std and x > centre + sigma_high * std, until
// nothing changes, nothing is left or max_iters is reached. As there, the bounds of the last iteration decide: a value
// dropped earlier that lies within them counts again. Where no value survives, count is 0 and the rest NaN.
// Sums are float64 about a reference near the data. Every series is computed alone and in order of its values, so the
// result does not depend on how series are split into calls.
// Throws std::invalid_argument on bad settings or sizes, std::bad_alloc when scratch of about 64 * n_time * 4 bytes
// cannot be had.
void series_statistics(View2<const float> data, const Clip& clip, const SeriesStatistics& out);

} // namespace starskope
