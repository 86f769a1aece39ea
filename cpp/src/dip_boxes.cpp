#include "dip_boxes.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "dispatch.hpp"

namespace starskope::detail {
namespace {

// Two passes: cells per box, and frequency steps that move the last event by this part of the duration.
struct Pass {
    double cells, freedom, window; // window: durations on either side of the middle
};
constexpr Pass passes[] = {{16.0, 8.0, 2.0}, {32.0, 40.0, 1.25}};
// Longest duration as a fraction of the period: an orbit within two stellar radii tears a planet apart.
constexpr double longest_duty = 0.16;
constexpr double most_frequencies = 129.0;
// More than any star asks for, and few enough to end.
constexpr double most_boxes = 1e10;

struct Box {
    double gain;
    std::size_t i_frequency, first, n;
};

Box box_around(const Points& points, const std::vector<double>& frequency, double epoch, double half_window,
               std::size_t n_cell, std::size_t least, std::size_t most) {
    const double n_box =
        double(frequency.size()) * double(n_cell) * (double(std::min(most, n_cell)) - double(least) + 1.0);
    if (n_box > most_boxes) {
        throw std::invalid_argument(std::to_string(n_box) + " boxes: expected at most " + std::to_string(most_boxes));
    }
    const auto [lowest, highest] = std::minmax_element(frequency.begin(), frequency.end());
    std::vector<std::uint8_t> near(points.n);
    std::vector<std::int32_t> cell(points.n);
    std::vector<double> sums(4 * (n_cell + 1)), offset(3 * (points.n + 1));
    NearBoxJob job{
        .time = points.time,
        .flux = points.flux,
        .weight = points.weight,
        .n_point = points.n,
        .epoch = epoch,
        .mean = points.mean,
        .total_weight = points.total,
        .frequency = frequency.data(),
        .n_frequency = frequency.size(),
        .lowest = *lowest,
        .highest = *highest,
        .half_window = half_window,
        .n_cell = n_cell,
        .least = least,
        .most = most,
        .near = near.data(),
        .offset = offset.data(),
        .weighted = offset.data() + points.n + 1,
        .cell = cell.data(),
        .sums = sums.data(),
        .running = sums.data() + 2 * (n_cell + 1),
        .gain = 0.0,
        .i_frequency = 0,
        .first = 0,
        .n = least,
    };
    active().dips->near_boxes(job);
    return {job.gain, job.i_frequency, job.first, job.n};
}

} // namespace

Ephemeris refine(const Points& points, const Ephemeris& start, double frequency_step, double shortest, double longest) {
    const double begin = points.begin(), end = points.end();
    Ephemeris at = start;
    double reach = 1.5 * frequency_step;
    for (const Pass& pass : passes) {
        const double step = at.duration / (pass.freedom * at.period * std::max(end - begin, at.period));
        const double n_side = std::min(std::ceil(reach / step), std::floor(most_frequencies / 2.0));
        std::vector<double> frequency;
        for (double k = -n_side; k <= n_side; ++k) {
            const double one = 1.0 / at.period + reach * k / std::max(n_side, 1.0);
            if (one > 0.0) {
                frequency.push_back(one);
            }
        }
        if (frequency.empty()) {
            return at;
        }
        const double middle = at.t0 + at.period * std::rint((0.5 * (begin + end) - at.t0) / at.period);
        const double half_window = std::min(pass.window * std::max(at.duration, points.cadence), 0.5 * at.period);
        const std::size_t n_cell =
            std::max(count_of(2.0 * half_window / (at.duration / pass.cells), "cells of a window"), std::size_t{2});
        const double cell = 2.0 * half_window / double(n_cell);
        const std::size_t least =
            std::max(count_of(std::ceil(shortest / cell - 1e-9), "cells of a box"), std::size_t{1});
        const std::size_t most =
            std::max(count_of(std::min(longest, longest_duty * at.period) / cell + 1e-9, "cells of a box"), least);
        const Box box = box_around(points, frequency, middle, half_window, n_cell, least, most);
        if (!(box.gain > 0.0)) {
            return at;
        }
        const double period = 1.0 / frequency[box.i_frequency];
        const double t0 = middle - half_window + (double(box.first) + 0.5 * double(box.n)) * cell;
        at = {period, first_event(t0, period, begin), double(box.n) * cell};
        reach = 1.5 * step;
    }
    return at;
}

bool locate(const Points& points, double period, double shortest, double longest, Ephemeris& found) {
    const std::size_t n_cell =
        std::max(count_of(std::ceil(3.0 * period / shortest), "cells of a period"), std::size_t{3});
    const double cell = period / double(n_cell);
    const std::size_t most =
        std::max(count_of(std::min(longest, longest_duty * period) / cell, "cells of a box"), std::size_t{3});
    double gain = 0.0, middle = 0.0, duration = 0.0;
    // The window ends half a period off its epoch: a dip that one window cuts lies in the middle of the other.
    for (const double half_turn : {0.0, 0.5}) {
        const double epoch = points.begin() + half_turn * period;
        const Box box = box_around(points, {1.0 / period}, epoch, 0.5 * period, n_cell, 3, most);
        if (box.gain > gain) {
            gain = box.gain;
            middle = epoch - 0.5 * period + (double(box.first) + 0.5 * double(box.n)) * cell;
            duration = double(box.n) * cell;
        }
    }
    found = {period, first_event(middle, period, points.begin()), duration};
    return gain > 0.0;
}

} // namespace starskope::detail
