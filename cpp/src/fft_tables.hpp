// The tables of plans, and the parts that plans are made of.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "factors.hpp"
#include "kernels/fft_plan.hpp"

namespace starskope::detail {

using Indices = std::vector<std::uint32_t>;

// exp(-2 pi i j / n)
std::complex<double> root(std::uint64_t j, std::uint64_t n);

// Rows of a tile in which element k comes to lie: the digits of k in reverse.
Indices reversed(const FftTile& tile);

// Row of sample j before a split transform, and after a backward one.
std::uint32_t natural_row(const FftSplit& split, std::size_t j);

// Rows that a split transform spans, padding included.
std::size_t rows_of(const FftSplit& split);

// Owns what the parts that it makes point to.
class Tables {
  public:
    FftTable keep(const std::vector<std::complex<double>>& values);
    const std::uint32_t* keep(Indices&& values) { return indices_.emplace_back(std::move(values)).data(); }

    FftTile tile(const std::vector<std::uint32_t>& radices);

    // `turned`: with twiddles between columns and groups.
    FftSplit split(const Split& lengths, bool turned);

    FftConvolution convolution(const std::vector<std::complex<double>>& sequence);

  private:
    std::list<std::vector<float>> single_;
    std::list<std::vector<double>> wide_;
    std::list<Indices> indices_;
};

} // namespace starskope::detail
