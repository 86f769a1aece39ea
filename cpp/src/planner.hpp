// Plans of Fourier transforms: how a length is taken apart, and the tables that its kernels read.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/fft_plan.hpp"

namespace starskope::detail {

// The plan for series of n_time points padded to n_fft, made once and shared by all threads; the least recently used of
// many are forgotten. n_fft >= n_time, n_fft >= 1.
std::shared_ptr<const FftGrid> plan_fft(std::size_t n_time, std::size_t n_fft);

} // namespace starskope::detail
