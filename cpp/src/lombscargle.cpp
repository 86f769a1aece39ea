#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "lomb_plan.hpp"
#include "starskope/spectra.hpp"

namespace starskope {
namespace {

// Shared weights with mean 1 over the points that have one; 0 elsewhere. Ones where none are given.
std::vector<float> relative_weights(View1<const float> given, std::size_t n_time) {
    std::vector<float> weights(n_time, 1.0f);
    double sum = 0.0;
    std::size_t count = 0;
    for (std::size_t j = 0; j < n_time && given; ++j) {
        const bool there = std::isfinite(given.data[j]) && given.data[j] > 0.0f;
        weights[j] = there ? given.data[j] : 0.0f;
        sum += double(weights[j]);
        count += there;
    }
    for (std::size_t j = 0; j < n_time && count > 0 && given; ++j) {
        weights[j] = float(double(weights[j]) * double(count) / sum);
    }
    return weights;
}

} // namespace

void lomb_scargle(View2<const float> data, const PointWeights& weights, std::size_t n_fft, View2<float> out,
                  const PointExtent& extent) {
    require_rows(data, "data");
    if (n_fft < 1 || n_fft > max_fft_length) {
        throw std::invalid_argument("n_fft=" + std::to_string(n_fft) + ": expected 1 to " +
                                    std::to_string(max_fft_length));
    }
    if (data.n_row > n_fft) {
        throw std::invalid_argument("n_fft=" + std::to_string(n_fft) + ": cannot hold the " +
                                    std::to_string(data.n_row) + " times of the data");
    }
    require_rows(out, "out");
    if (out.n_row > n_fft / 2) {
        throw std::invalid_argument("out: has " + std::to_string(out.n_row) +
                                    " rows, expected at most n_fft / 2 = " + std::to_string(n_fft / 2));
    }
    if (out.n_col != data.n_col) {
        throw std::invalid_argument("out: has shape " + std::to_string(out.n_row) + " x " + std::to_string(out.n_col) +
                                    ", expected " + std::to_string(out.n_row) + " x " + std::to_string(data.n_col));
    }
    if (bool(extent.count) != bool(extent.spread)) {
        throw std::invalid_argument("extent: expected both count and spread, or neither");
    }
    if (extent.count) {
        require_size(extent.count, data.n_col, "count");
        require_size(extent.spread, data.n_col, "spread");
    }
    const bool each = weights.each_series.n_row > 0;
    if (each) {
        require_rows(weights.each_series, "weights");
        if (weights.shared || weights.each_series.n_row != data.n_row || weights.each_series.n_col != data.n_col) {
            throw std::invalid_argument("weights: expected one per time, or one per value of the data");
        }
    } else if (weights.shared) {
        require_size(weights.shared, data.n_row, "weights");
    }
    if (data.n_col == 0 || (out.n_row == 0 && !extent.count)) {
        return; // nothing is asked for
    }
    const auto grid = detail::plan_lomb(data.n_row, n_fft);
    const std::vector<float> shared = relative_weights(weights.shared, data.n_row);
    const detail::Kernels& kernels = detail::active();
    const auto scratch = detail::make_scratch<float>(kernels.lomb_scargle_scratch(*grid, data.n_row, out.n_row, each));
    kernels.lomb_scargle({.grid = grid.get(),
                          .data = data.data,
                          .n_time = data.n_row,
                          .n_series = data.n_col,
                          .row_stride = data.stride,
                          .shared_weights = shared.data(),
                          .weights = each ? weights.each_series.data : nullptr,
                          .weights_stride = weights.each_series.stride,
                          .power = out.data,
                          .n_freq = out.n_row,
                          .power_stride = out.stride,
                          .count = extent.count.data,
                          .spread = extent.spread.data,
                          .scratch = scratch.get()});
}

} // namespace starskope
