// The dips of one star: what its points say of the peaks of a box spectrum, and of dips that do not repeat.
#pragma once

#include <cstdint>

#include "starskope/view.hpp"

namespace starskope {

// The valid points of one star, (n_point,) each: strictly increasing times in days, flux around 0 (dips are negative),
// weights > 0 of mean 1 (inverse variances). All finite.
struct StarPoints {
    View1<const double> time;
    View1<const double> flux;
    View1<const double> weight;
    double cadence = 0.0; // days, > 0
};

// The periods of a box spectrum, strictly monotonic, with the shortest and longest duration at each, (n_period,), days;
// and bands of neighbouring periods over which its trend is measured: band b holds the periods edge[b] to edge[b + 1],
// and its median holds at the position centre[b], (n_band + 1,) and (n_band,).
struct PeriodTrials {
    View1<const double> period;
    View1<const double> shortest;
    View1<const double> longest;
    View1<const std::int64_t> edge;
    View1<const double> centre;
};

struct Ephemeris {
    double period, t0, duration; // days; t0 is the middle of the first event
};

// A candidate: days, fractions of the light, numbers; NaN where nothing was measured.
struct VettedDip {
    double period, t0, duration;
    double depth, depth_err, snr; // the error holds red noise and the scatter of the events
    double n_transits;            // events of which enough was observed
    double n_consistent;          // those that agree with the depth
    double steadiness;            // depth without the event that carries most of it, over depth with it
    double odd_even, odd_even_err;
    double secondary, secondary_err, secondary_phase, n_secondary; // the deepest dip at any other phase
    double bump;                                                   // signal-to-noise ratio of the highest bump
    double flat_bottom, flat_bottom_max,
        length; // trapezoid: bottom over whole length, the same at most, length over duration
    double period_err, t0_err;
    double gain;  // of the box, and of that at a significant secondary: depth^2 w_in w_out / (w_in + w_out)
    double level; // mean flux outside
};

// Signal detection efficiency of a box spectrum of signal-to-noise ratios (n_period,): height above the medians of the
// bands, joined by straight lines, in its own scatter; zeros without scatter.
// All functions here throw std::invalid_argument on sizes, times or settings out of order.
void detrend_spectrum(View1<const float> statistic, View1<const std::int64_t> edge, View1<const double> centre,
                      View1<double> out);

// Refines the three highest peaks of a spectrum on all points and vets the one whose events stand out most. Returns
// false where nothing dips. sde is the efficiency of that peak, NaN without one. With `upside_down` rises are dips.
bool best_peak(const StarPoints& points, bool upside_down, View1<const float> statistic, const PeriodTrials& trials,
               double& sde, VettedDip& found);

// The best box at one period and any phase, on all points; false where nothing dips.
bool locate_box(const StarPoints& points, double period, double shortest, double longest, Ephemeris& found);

// The best box near `start`, whose frequency lies within one and a half `frequency_step` (1/day); `start` where none
// is.
Ephemeris refine_box(const StarPoints& points, const Ephemeris& start, double frequency_step, double shortest,
                     double longest);

struct SingleDip {
    double time, duration; // middle, days
    double depth, error, snr;
};

// The most significant dips of a star against the light beside them, and the most significant rises, none of which
// overlap: as many as the views hold, and how many those were. Boxes of each duration (increasing, days) are centred on
// every point; none counts that touches a gap, an end or a forbidden time (increasing) within its duration.
struct SingleCounts {
    std::size_t n_dip, n_rise;
};
SingleCounts single_dips(const StarPoints& points, View1<const double> duration, View1<const double> forbidden,
                         View1<SingleDip> dips, View1<SingleDip> rises);

// Every series of (n_time, n_star) over its median, less 1, part by part (n_time,), 0 to n_part - 1; what stands five
// scatters above is missing (NaN), and parts with fewer than 16 points, no light or no scatter are.
void centre_series(View2<const float> flux, View1<const std::int64_t> part, std::int64_t n_part, View2<float> out);

} // namespace starskope
