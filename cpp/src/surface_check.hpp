// What entry points ask of a surface before a kernel reads it. Private to them.
#pragma once

#include "kernels/sky_jobs.hpp"
#include "starskope/sky.hpp"

namespace starskope::detail {

// Throws unless each of n places takes 1 to 4 neighbours of n_of, as `start` and `weight` say.
void check_taps(View1<const std::int64_t> start, View2<const float> weight, std::size_t n, std::size_t n_of);

// A surface of (n_row, n_col) pixels for a kernel. Throws where it does not fit.
SurfaceRows checked(const Surface& surface, std::size_t n_row, std::size_t n_col);

} // namespace starskope::detail
