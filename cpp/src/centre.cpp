#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "ranks.hpp"
#include "starskope/dips.hpp"

namespace starskope {
namespace {

constexpr double upward_sigma = 5.0; // above, points are no dips, and no measure of noise either: flares, cosmic rays
constexpr std::size_t least_points = 16; // a star with fewer has no noise level worth the name
constexpr double least_scatter = 1e-12;

} // namespace

void centre_series(View2<const float> flux, View1<const std::int64_t> part, std::int64_t n_part, View2<float> out) {
    require_rows(flux, "flux");
    require_rows(out, "out");
    if (out.n_row != flux.n_row || out.n_col != flux.n_col) {
        throw std::invalid_argument("out: expected the shape of flux");
    }
    require_size(part, flux.n_row, "part");
    for (std::size_t i = 0; i < part.size; ++i) {
        if (part.data[i] < 0 || part.data[i] >= n_part) {
            throw std::invalid_argument("part[" + std::to_string(i) + "]=" + std::to_string(part.data[i]) +
                                        ": expected 0 to " + std::to_string(n_part - 1));
        }
    }
    if (flux.n_row == 0 || flux.n_col == 0) {
        return;
    }
    const std::size_t n_time = flux.n_row;
    std::vector<double> column(n_time + 1), scratch(n_time + 1);
    std::vector<std::size_t> place(n_time + 1);
    for (std::size_t i = 0; i < n_time; ++i) {
        std::fill_n(out.data + i * out.stride, out.n_col, std::numeric_limits<float>::quiet_NaN());
    }
    for (std::size_t star = 0; star < flux.n_col; ++star) {
        for (std::int64_t k = 0; k < n_part; ++k) {
            std::size_t n = 0;
            for (std::size_t i = 0; i < n_time; ++i) {
                const float value = flux.data[i * flux.stride + star];
                column[n] = double(value);
                place[n] = i;
                n += std::size_t(std::isfinite(value) && part.data[i] == k);
            }
            if (n < least_points) {
                continue;
            }
            std::copy_n(column.begin(), n, scratch.begin());
            const double level = detail::median(scratch.data(), n);
            if (!(level > 0.0)) {
                continue;
            }
            for (std::size_t i = 0; i < n; ++i) {
                scratch[i] = column[i] = column[i] / level - 1.0;
            }
            const double middle = detail::median(scratch.data(), n);
            for (std::size_t i = 0; i < n; ++i) {
                scratch[i] = std::fabs(column[i] - middle);
            }
            double scatter = detail::mad_to_sigma * detail::median(scratch.data(), n);
            if (!(scatter > 0.0)) {
                // More than half of the points are equal: only their spread can tell whether there is any light.
                double mean = 0.0, square = 0.0;
                for (std::size_t i = 0; i < n; ++i) {
                    mean += column[i];
                }
                mean /= double(n);
                for (std::size_t i = 0; i < n; ++i) {
                    square += (column[i] - mean) * (column[i] - mean);
                }
                scatter = std::sqrt(square / double(n));
            }
            if (!(scatter > least_scatter)) {
                continue;
            }
            for (std::size_t i = 0; i < n; ++i) {
                if (column[i] <= upward_sigma * scatter) {
                    out.data[place[i] * out.stride + star] = float(column[i]);
                }
            }
        }
    }
}

} // namespace starskope
