// What the events of an ephemeris have in common, and every other phase of its period. Private to the entry points.
#pragma once

#include "dip_events.hpp"

namespace starskope::detail {

// Boxes at all phases of a period: the uniqueness test of a candidate (after Coughlin et al. 2016,
// doi:10.3847/0067-0049/224/1/12).
struct PhaseScan {
    double coherent; // scatter of the boxes outside over what red noise predicts; above 1 where noise has the period
    double secondary_phase;          // of the middle of the most significant other dip; NaN without any
    double bump;                     // signal-to-noise ratio of the highest bump
    double box_gain, secondary_gain; // of the boxes at phase 0 and at the other dip
};
PhaseScan scan_phases(const Points& points, const Measured& found);

// Mean depth without the event that carries most of it, over that with it; NaN for fewer than two events.
double steadiness(const Measured& found);

// Events within three sigma and 30 % of the depth, and nearer to it than to nothing or twice it.
double n_consistent(const Measured& found);

// Depth of the odd minus that of the even events; NaN where one of them is missing.
struct Difference {
    double value, error;
};
Difference odd_even(const Measured& found);

} // namespace starskope::detail
