// From a peak on a grid to a period, an epoch and a duration on all points of a star. Private to the entry points.
#pragma once

#include "dip_events.hpp"

namespace starskope::detail {

// The best box at one period, at any phase; false where nothing dips.
bool locate(const Points& points, double period, double shortest, double longest, Ephemeris& found);

// The best box near `start`; `start` itself where no dip is left.
Ephemeris refine(const Points& points, const Ephemeris& start, double frequency_step, double shortest, double longest);

} // namespace starskope::detail
