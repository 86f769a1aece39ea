// The shape of a dip, a trapezoid smeared by the exposure, and where in time it fits best. Private to the entry points.
#pragma once

#include "dip_events.hpp"

namespace starskope::detail {

// Fits a trapezoid to the folded dip; a box where fewer than eight points lie in and around it.
DipShape fit_shape(const Points& points, const Ephemeris& at, double level);

struct FittedEphemeris {
    Ephemeris at;
    double period_err, t0_err; // one sigma from the scatter of the points, days; NaN without a fit
};

// Fits period and epoch to all points near the events by least squares; `at` itself where that does not converge within
// half a duration. A box has no slopes: its best position is known to a cadence, the trapezoid's to a fraction of one.
FittedEphemeris fit_ephemeris(const Points& points, const Ephemeris& at, const DipShape& shape, double level);

} // namespace starskope::detail
