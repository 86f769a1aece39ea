// Plans of Lomb-Scargle periodograms: the tables of gridding that their kernels read.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/lomb_job.hpp"

namespace starskope::detail {

// The plan for series of n_time points on the frequencies k / n_fft, made once and shared by all threads; the least
// recently used of many are forgotten. n_fft >= n_time, n_fft >= 1.
std::shared_ptr<const LombGrid> plan_lomb(std::size_t n_time, std::size_t n_fft);

} // namespace starskope::detail
