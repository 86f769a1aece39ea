#include "dip_phases.hpp"

#include <algorithm>
#include <cmath>

#include "dispatch.hpp"
#include "ranks.hpp"

namespace starskope::detail {
namespace {

constexpr std::size_t cells_per_box = 4;
// No secondary is sought within this many durations of the primary's middle: a box is shorter than the dip it fits.
constexpr double primary_width = 1.5;
constexpr double least_seen = 0.35; // of an event

} // namespace

PhaseScan scan_phases(const Points& points, const Measured& found) {
    const Ephemeris& at = found.at;
    // The first four cells hold the event.
    const std::size_t n_cell = std::max(
        count_of(std::rint(double(cells_per_box) * at.period / at.duration), "cells of a period"), 3 * cells_per_box);
    const double cell = at.period / double(n_cell);
    std::vector<double> sums(4 * n_cell), inside(n_cell);
    std::vector<std::int32_t> cells(points.n);
    double *cell_w = sums.data(), *cell_y = cell_w + n_cell, *w = cell_y + n_cell, *y = w + n_cell;
    active().dips->phase_sums({
        .time = points.time,
        .flux = points.flux,
        .weight = points.weight,
        .n_point = points.n,
        .level = found.level,
        .period = at.period,
        .t0 = at.t0 - 0.5 * double(cells_per_box) * at.period / double(n_cell),
        .n_cell = n_cell,
        .cell = cells.data(),
        .sum_w = cell_w,
        .sum_y = cell_y,
    });
    for (std::size_t c = 0; c < n_cell; ++c) {
        for (std::size_t k = c; k < c + cells_per_box; ++k) {
            const std::size_t one = k < n_cell ? k : k - n_cell;
            w[c] += cell_w[one];
            y[c] += cell_y[one];
        }
    }
    const double box_gain = w[0] > 0.0 && y[0] < 0.0 ? y[0] * y[0] / w[0] : 0.0;
    const double per_event = std::max(at.duration / points.cadence, 1.0);
    std::size_t n = 0, deepest = 0;
    double highest = 0.0, lowest = 0.0;
    for (std::size_t c = 0; c < n_cell; ++c) {
        // Weights have mean 1: one event that counts as observed is enough, its error says the rest.
        if (double(std::min(c, n_cell - c)) * cell > primary_width * at.duration && w[c] >= least_seen * per_event) {
            const double variance =
                found.white * found.white / w[c] + found.red * found.red * std::min(per_event / w[c], 1.0);
            inside[n] = -y[c] / w[c] / std::sqrt(variance);
            if (n == 0 || inside[n] > highest) {
                deepest = c;
                highest = inside[n];
            }
            lowest = std::min(lowest, inside[n++]);
        }
    }
    if (n == 0) {
        return {1.0, nan, 0.0, box_gain, 0.0};
    }
    std::vector<double> scratch(inside.begin(), inside.begin() + std::ptrdiff_t(n));
    const double middle = median(scratch.data(), n);
    for (std::size_t i = 0; i < n; ++i) {
        scratch[i] = std::fabs(inside[i] - middle);
    }
    const double coherent = std::max(1.0, mad_to_sigma * median(scratch.data(), n));
    const double other_gain = y[deepest] < 0.0 ? y[deepest] * y[deepest] / w[deepest] : 0.0;
    return {coherent, double(deepest) / double(n_cell), -lowest / coherent, box_gain, other_gain};
}

double steadiness(const Measured& found) {
    const std::size_t n = found.event_depth.size();
    if (n < 2) {
        return nan;
    }
    double total = 0.0, whole = 0.0, most = 0.0, its_weight = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
        const double w = 1.0 / found.variance[i], moment = w * found.event_depth[i];
        total += w;
        whole += moment;
        if (i == 0 || moment > most) {
            most = moment;
            its_weight = w;
        }
    }
    return (whole - most) / (total - its_weight) / (whole / total);
}

double n_consistent(const Measured& found) {
    double n = 0.0;
    const double depth = found.depth.value;
    for (std::size_t i = 0; i < found.event_depth.size(); ++i) {
        const double one = found.event_depth[i];
        n +=
            std::fabs(one - depth) <= 3.0 * std::sqrt(found.variance[i]) + 0.3 * depth && one > 0.2 * depth ? 1.0 : 0.0;
    }
    return n;
}

Difference odd_even(const Measured& found) {
    std::vector<double> depth[2], variance[2];
    for (std::size_t i = 0; i < found.number.size(); ++i) {
        const std::size_t odd = std::fmod(found.number[i], 2.0) != 0.0 ? 1 : 0;
        depth[odd].push_back(found.event_depth[i]);
        variance[odd].push_back(found.variance[i]);
    }
    const Depth odd = weighted_mean(depth[1], variance[1]), even = weighted_mean(depth[0], variance[0]);
    return {odd.value - even.value, std::hypot(odd.error, even.error)};
}

} // namespace starskope::detail
