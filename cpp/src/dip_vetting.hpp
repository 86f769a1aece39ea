// What is measured of one periodic candidate, which of its period's multiples it has, and every other phase of it.
// Private to the entry points.
#pragma once

#include "dip_events.hpp"

namespace starskope::detail {

// Signal-to-noise ratio with the scatter of the events; 0 where nothing dips.
double snr(const Measured& found);

// Refines a candidate from a grid with that step at this period (1/day) and measures its events.
Measured measure(const Points& points, const Ephemeris& start, double frequency_step, const Limits& limits);

// Settles the period of a candidate that dips among its multiples and describes it.
VettedDip vet(const Points& points, Measured found, const Limits& limits);

} // namespace starskope::detail
