#include "dip_events.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "dispatch.hpp"
#include "ranks.hpp"

namespace starskope::detail {
namespace {

constexpr double scatter_prior = 3.0; // degrees of freedom by which the scatter of few events is held to expectation
constexpr double least_coverage =
    0.35;                             // of an event, to count as observed: its error says how little that may be worth
constexpr double transit_width = 2.0; // durations around an event within which nothing counts as quiet
constexpr double steps_per_box = 3.0;
constexpr std::size_t least_boxes = 8;
constexpr double tail = 0.95, tail_sigma = 1.96;
constexpr double tail_reach = 0.3; // part of the expected tail within which it is looked for first

struct Quiet {
    std::vector<double> time, flux, weight;
    std::size_t n;
    double level;
};

// The points away from the events and from those at another epoch; all points where none is.
Quiet quiet(const Points& points, const Ephemeris& at, double other_t0) {
    Quiet found{std::vector<double>(points.n + 1), std::vector<double>(points.n + 1), std::vector<double>(points.n + 1),
                0, 0.0};
    std::vector<std::uint8_t> away(points.n);
    QuietJob job{
        .time = points.time,
        .flux = points.flux,
        .weight = points.weight,
        .n_point = points.n,
        .period = at.period,
        .t0 = at.t0,
        .other_t0 = other_t0,
        .half_width = 0.5 * transit_width * at.duration,
        .away = away.data(),
        .quiet_time = found.time.data(),
        .quiet_flux = found.flux.data(),
        .quiet_weight = found.weight.data(),
        .n_quiet = 0,
    };
    active().dips->quiet_points(job);
    found.n = job.n_quiet;
    if (found.n == 0) {
        found.n = points.n;
        std::copy_n(points.time, points.n, found.time.begin());
        std::copy_n(points.flux, points.n, found.flux.begin());
        std::copy_n(points.weight, points.n, found.weight.begin());
    }
    double total = 0.0, moment = 0.0;
    for (std::size_t i = 0; i < found.n; ++i) {
        total += found.weight[i];
        moment += found.weight[i] * found.flux[i];
    }
    found.level = moment / total;
    return found;
}

struct Boxes {
    std::vector<double> mean, weight;
};

// Weighted means of boxes that slide along time, and the weights in them; empty boxes are left out.
Boxes box_means(const double* time, const double* flux, const double* weight, std::size_t n, double duration,
                double step) {
    const std::size_t n_box =
        count_of(std::max(std::trunc((time[n - 1] - time[0] - duration) / step) + 1.0, 0.0), "boxes along time");
    Boxes out{std::vector<double>(n_box), std::vector<double>(n_box)};
    // Sums up to each point: a box is a difference, and fluxes around 0 lose nothing by it.
    std::vector<double> sum_w(n + 1), sum_y(n + 1);
    for (std::size_t i = 0; i < n; ++i) {
        sum_w[i + 1] = sum_w[i] + weight[i];
        sum_y[i + 1] = sum_y[i] + weight[i] * flux[i];
    }
    std::size_t first = 0, last = 0, kept = 0;
    for (std::size_t b = 0; b < n_box; ++b) {
        const double start = time[0] + double(b) * step;
        while (first < n && time[first] < start) {
            ++first;
        }
        last = std::max(last, first);
        while (last < n && time[last] < start + duration) {
            ++last;
        }
        const double w = sum_w[last] - sum_w[first];
        if (last > first && w > 0.0) {
            out.mean[kept] = (sum_y[last] - sum_y[first]) / w;
            out.weight[kept++] = w;
        }
    }
    out.mean.resize(kept);
    out.weight.resize(kept);
    return out;
}

} // namespace

std::size_t count_of(double n, const char* what) {
    if (!(n >= 0.0 && n <= most_cells)) {
        throw std::invalid_argument(std::to_string(n) + " " + what + ": expected at most " +
                                    std::to_string(std::size_t(most_cells)));
    }
    return static_cast<std::size_t>(n);
}

double first_event(double t0, double period, double start) {
    return t0 + period * std::ceil((start - t0) / period - 1e-9);
}

double from_event(double time, const Ephemeris& at) {
    const double offset = time - at.t0;
    return offset - at.period * std::rint(offset / at.period);
}

Depth weighted_mean(const std::vector<double>& depth, const std::vector<double>& variance) {
    if (depth.empty()) {
        return {nan, nan, nan};
    }
    double total = 0.0, moment = 0.0, chi2 = 0.0;
    for (std::size_t i = 0; i < depth.size(); ++i) {
        total += 1.0 / variance[i];
        moment += depth[i] / variance[i];
    }
    const double value = moment / total;
    for (std::size_t i = 0; i < depth.size(); ++i) {
        chi2 += (depth[i] - value) * (depth[i] - value) / variance[i];
    }
    const double formal = std::pow(total, -0.5);
    // One deep artefact among events of no depth has a large error by its own scatter, while three honest events are
    // not punished for the small number.
    const double growth = std::sqrt((chi2 + scatter_prior) / (double(depth.size()) - 1.0 + scatter_prior));
    return {value, formal, formal * std::max(1.0, growth)};
}

Noise split_noise(const double* time, const double* flux, const double* weight, std::size_t n, double duration,
                  double centre, double scatter) {
    if (n == 0) {
        return {nan, 0.0};
    }
    std::vector<double> scaled(n), scratch(n + 1);
    for (std::size_t i = 0; i < n; ++i) {
        scaled[i] = flux[i] * std::sqrt(weight[i]);
    }
    const double white = spread(scaled.data(), n, {centre, scatter}, scratch.data()).sigma;
    auto [means, weights] = box_means(time, flux, weight, n, duration, duration / steps_per_box);
    double average = 0.0;
    for (const double w : weights) {
        average += w;
    }
    const double half = 0.5 * average / double(means.size());
    std::size_t kept = 0;
    double inverse = 0.0, total = 0.0, square = 0.0;
    for (std::size_t i = 0; i < means.size(); ++i) {
        if (weights[i] >= half) {
            const double mean = means[i];
            means[kept++] = mean;
            inverse += 1.0 / weights[i];
            total += mean;
            square += mean * mean;
        }
    }
    if (kept < least_boxes) {
        return {white, 0.0};
    }
    const auto count = double(kept);
    const double mean = total / count;
    const double sigma = std::sqrt(std::max(square / count - mean * mean, 0.0));
    scratch.resize(std::max(scratch.size(), kept + 1));
    const double by_median = spread(means.data(), kept, {mean, sigma}, scratch.data()).sigma;
    // `means` now holds the deviations, of which the upper of two in the middle counts.
    const double middle = ranked_between(means.data(), kept, kept / 2, 0.9 * by_median / mad_to_sigma,
                                         1.1 * by_median / mad_to_sigma, scratch.data());
    const double expected = tail_sigma * std::max(sigma, by_median);
    const double beyond = ranked_between(means.data(), kept, std::size_t(tail * double(kept - 1)),
                                         (1.0 - tail_reach) * expected, (1.0 + tail_reach) * expected, scratch.data());
    const double wide = std::max(mad_to_sigma * middle, beyond / tail_sigma);
    return {white, std::sqrt(std::max(wide * wide - white * white * inverse / count, 0.0))};
}

void observed_events(const Points& points, const Ephemeris& at, const DipShape& shape, Measured& found) {
    const double first = std::floor((points.begin() - at.t0) / at.period + 0.5);
    const double last = std::floor((points.end() - at.t0) / at.period + 0.5);
    const std::size_t n = points.n, n_event = count_of(last - first + 1.0, "events");
    std::vector<double> sums(4 * n_event), places(2 * n);
    double *count = sums.data(), *wm = count + n_event, *wmm = wm + n_event, *wmy = wmm + n_event;
    active().dips->event_sums({
        .time = points.time,
        .flux = points.flux,
        .weight = points.weight,
        .n_point = n,
        .level = found.level,
        .period = at.period,
        .t0 = at.t0,
        .duration = at.duration,
        .length = shape.length,
        .bottom = shape.bottom,
        .smear = shape.smear,
        .first = first,
        .number = places.data(),
        .offset = places.data() + n,
        .count = count,
        .wm = wm,
        .wmm = wmm,
        .wmy = wmy,
    });
    const double least = std::max(least_coverage * std::max(at.duration / points.cadence, 1.0), 1.0 - 1e-9);
    found.number.clear();
    found.event_depth.clear();
    found.variance.clear();
    for (std::size_t k = 0; k < n_event; ++k) {
        if (count[k] >= least && wmm[k] > 0.0) {
            // Red noise shifts all points of an event alike: the shape turns a shift into wm / wmm of it.
            const double shifted = found.red * wm[k] / wmm[k];
            found.number.push_back(first + double(k));
            found.event_depth.push_back(-wmy[k] / wmm[k]);
            found.variance.push_back(found.white * found.white / wmm[k] + shifted * shifted);
        }
    }
}

Measured measured_at(const Points& points, const Ephemeris& at, const DipShape& shape, double other_phase) {
    const Quiet left = quiet(points, at, at.t0 + other_phase * at.period);
    const Noise noise = split_noise(left.time.data(), left.flux.data(), left.weight.data(), left.n, at.duration,
                                    points.centre, points.scatter);
    Measured found;
    found.at = at;
    found.shape = shape;
    found.white = noise.white;
    found.red = noise.red;
    found.level = left.level;
    observed_events(points, at, shape, found);
    found.depth = weighted_mean(found.event_depth, found.variance);
    return found;
}

} // namespace starskope::detail
