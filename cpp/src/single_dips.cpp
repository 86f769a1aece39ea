#include <algorithm>
#include <array>
#include <cmath>

#include "dip_events.hpp"
#include "ranks.hpp"

namespace starskope {
namespace {

using detail::nan;

constexpr double gap_days = 0.05; // a stretch without points is a gap from here on, or from two and a half cadences
constexpr double least_coverage = 0.7;
constexpr std::size_t least_positions = 20; // of a box, from which its scatter is measured
constexpr std::size_t n_blocker = 2;        // dips beside gaps that are kept in mind at each duration
// Significance above which the highest are looked for first; any value gives the same.
constexpr double probable = 1.5;
// A dip's halves may differ by this fraction of the depth (and three sigma): a step or a ramp is no transit.
constexpr double halves_differ = 0.6;

// Sums of weight and weighted flux before each point, and how many gaps lie before it.
struct Sums {
    std::vector<double> w, y;
    std::vector<std::int64_t> hole;
};

Sums running_sums(const StarPoints& points) {
    const std::size_t n = points.time.size;
    const double gap = std::max(gap_days, 2.5 * points.cadence);
    Sums sums{std::vector<double>(n + 1), std::vector<double>(n + 1), std::vector<std::int64_t>(n)};
    for (std::size_t i = 0; i < n; ++i) {
        sums.w[i + 1] = sums.w[i] + points.weight.data[i];
        sums.y[i + 1] = sums.y[i] + points.weight.data[i] * points.flux.data[i];
        sums.hole[i] = i > 0 ? sums.hole[i - 1] + (points.time.data[i] - points.time.data[i - 1] > gap ? 1 : 0) : 0;
    }
    return sums;
}

// First points of the flank before, of the box, of the flank after, and behind that; an empty flank has too few points.
struct Edges {
    std::size_t a, b, d, e;
};

// A box of one duration centred on every point in turn.
struct Boxes {
    std::vector<double> depth{};       // mean of the flanks less mean of the box; NaN: too few points
    std::vector<std::uint8_t> clear{}; // neither a gap nor an end lies within a duration of the box
    std::vector<Edges> edges{};
};

void match(const StarPoints& points, const Sums& sums, double duration, Boxes& out) {
    const std::size_t n = points.time.size;
    const double* time = points.time.data;
    const double cadence = points.cadence, half = 0.5 * cadence, least = least_coverage * duration / cadence;
    const auto& [w, y, hole] = sums;
    out.depth.assign(n, nan);
    out.clear.assign(n, 0);
    out.edges.resize(n);
    std::size_t a = 0, b = 0, d = 0, e = 0;
    const auto reach = [&](std::size_t i, double end) {
        while (i < n && time[i] < end - 1e-9) {
            ++i;
        }
        return i;
    };
    for (std::size_t i = 0; i < n; ++i) {
        const double t = time[i], begin = t - 1.5 * duration, end = t + 1.5 * duration;
        a = reach(a, begin);
        b = reach(b, t - 0.5 * duration);
        d = reach(d, t + 0.5 * duration);
        e = reach(e, end);
        const bool left = double(b - a) >= least, right = double(e - d) >= least;
        const std::size_t before = left ? a : b, after = right ? e : d;
        out.edges[i] = {before, b, d, after};
        if (double(d - b) < std::max(least, 2.0) || !(left || right)) {
            continue;
        }
        const double w_flank = (w[b] - w[before]) + (w[after] - w[d]), y_flank = (y[b] - y[before]) + (y[after] - y[d]);
        out.depth[i] = y_flank / w_flank - (y[d] - y[b]) / (w[d] - w[b]);
        if (left && right && hole[e - 1] == hole[a]) {
            // A gap that begins with the first point that is missing counts from there, not from the points around it.
            const bool gap_before = a > 0 && hole[a - 1] != hole[a] && time[a] - cadence > begin;
            const bool gap_after = e < n && hole[e] != hole[e - 1] && time[e - 1] + cadence < end;
            const bool at_end = begin < time[0] - half || end > time[n - 1] + half;
            out.clear[i] = !(gap_before || gap_after || at_end);
        }
    }
}

// Takes from the clear boxes those with a forbidden time within a duration of them.
void forbid(View1<const double> time, double duration, View1<const double> forbidden,
            std::vector<std::uint8_t>& clear) {
    std::size_t k = 0;
    for (std::size_t i = 0; i < time.size; ++i) {
        while (k < forbidden.size && forbidden.data[k] < time.data[i] - 1.5 * duration) {
            ++k;
        }
        if (k < forbidden.size && forbidden.data[k] <= time.data[i] + 1.5 * duration) {
            clear[i] = 0;
        }
    }
}

// The larger of the differences between the halves of the box around a point and between its flanks.
double unevenness(const Sums& sums, const Edges& edges, std::size_t middle) {
    const auto mean = [&sums](std::size_t from, std::size_t to) {
        return (sums.y[to] - sums.y[from]) / (sums.w[to] - sums.w[from]);
    };
    const auto [a, b, d, e] = edges;
    double uneven = middle > b && d > middle ? std::fabs(mean(b, middle) - mean(middle, d)) : 0.0;
    if (b > a && e > d) {
        uneven = std::max(uneven, std::fabs(mean(a, b) - mean(d, e)));
    }
    return uneven;
}

// Places of the highest significances above 0, at most n, none nearer than `apart` to another; steps and ramps do not
// count. The probable are looked at first, which any few of the others could not change.
std::vector<std::size_t> highest(const std::vector<double>& significance, const double* time, const Sums& sums,
                                 const Boxes& boxes, double apart, double scatter, std::size_t n) {
    std::vector<std::size_t> chosen, free(significance.size() + 1);
    for (const double least : {probable, 0.0}) {
        chosen.clear();
        std::size_t m = 0;
        free.resize(significance.size() + 1);
        for (std::size_t i = 0; i < significance.size(); ++i) {
            free[m] = i;
            m += std::size_t(significance[i] > least);
        }
        free.resize(m);
        while (chosen.size() < n && !free.empty()) {
            const std::size_t best = *std::max_element(free.begin(), free.end(), [&](std::size_t i, std::size_t j) {
                return significance[i] < significance[j];
            });
            const bool even =
                unevenness(sums, boxes.edges[best], best) < (halves_differ * significance[best] + 3.0) * scatter;
            if (even) {
                chosen.push_back(best);
            }
            std::erase_if(
                free, [&](std::size_t i) { return i == best || (even && std::fabs(time[i] - time[best]) < apart); });
        }
        if (chosen.size() == n) {
            break;
        }
    }
    return chosen;
}

struct Found {
    SingleDip dip;
    bool is_clear;
};

// The most significant that do not overlap; those that are not clear take their place and are left out.
std::size_t keep_apart(std::vector<Found> found, View1<SingleDip> out) {
    // Of equals the one that was found first.
    std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.dip.snr > b.dip.snr; });
    std::vector<SingleDip> kept;
    std::size_t n = 0;
    for (const Found& one : found) {
        if (n == out.size) {
            break;
        }
        const bool overlaps = std::any_of(kept.begin(), kept.end(), [&one](const SingleDip& other) {
            return !(std::fabs(one.dip.time - other.time) > 1.5 * (one.dip.duration + other.duration));
        });
        if (!overlaps) {
            kept.push_back(one.dip);
            if (one.is_clear) {
                out.data[n++] = one.dip;
            }
        }
    }
    return n;
}

void check_increasing(View1<const double> values, double least, const char* name) {
    require_size(values, values.size, name);
    for (std::size_t i = 0; i < values.size; ++i) {
        const double value = values.data[i];
        if (!std::isfinite(value) || value < least || (i > 0 && value < values.data[i - 1])) {
            throw std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "]=" + std::to_string(value) +
                                        ": expected days that do not fall");
        }
    }
}

} // namespace

SingleCounts single_dips(const StarPoints& points, View1<const double> duration, View1<const double> forbidden,
                         View1<SingleDip> dips, View1<SingleDip> rises) {
    std::vector<double> turned;
    detail::ready(points, false, turned);
    check_increasing(duration, 1e-300, "duration");
    check_increasing(forbidden, -1e300, "forbidden");
    require_size(dips, dips.size, "dips");
    require_size(rises, dips.size, "rises");
    const std::size_t n = points.time.size, n_each = dips.size + n_blocker;
    const Sums sums = running_sums(points);
    std::array<std::vector<Found>, 2> found;
    Boxes boxes;
    std::vector<double> held(n + 1), scratch(n + 1), significance(n);
    for (std::size_t k = 0; k < duration.size; ++k) {
        const double length = duration.data[k];
        match(points, sums, length, boxes);
        forbid(points.time, length, forbidden, boxes.clear);
        std::size_t m = 0;
        double total = 0.0, square = 0.0;
        for (std::size_t i = 0; i < n; ++i) {
            if (boxes.clear[i]) {
                held[m++] = boxes.depth[i];
                total += boxes.depth[i];
                square += boxes.depth[i] * boxes.depth[i];
            }
        }
        if (m < least_positions) {
            continue;
        }
        const double mean = total / double(m), sigma = std::sqrt(std::max(square / double(m) - mean * mean, 0.0));
        const double scatter = detail::spread(held.data(), m, {mean, sigma}, scratch.data()).sigma;
        if (!(scatter > 0.0)) {
            continue;
        }
        // Every box competes, so that a dip beside a gap is not found again as a worse box that keeps off it.
        for (const double sign : {1.0, -1.0}) {
            const double factor = sign / scatter;
            for (std::size_t i = 0; i < n; ++i) {
                significance[i] = factor * boxes.depth[i];
            }
            for (const std::size_t i :
                 highest(significance, points.time.data, sums, boxes, 2.0 * length, scatter, n_each)) {
                const double depth = sign * boxes.depth[i];
                found[sign > 0.0 ? 0 : 1].push_back(
                    {{points.time.data[i], length, depth, scatter, depth / scatter}, boxes.clear[i] != 0});
            }
        }
    }
    return {keep_apart(std::move(found[0]), dips), keep_apart(std::move(found[1]), rises)};
}

} // namespace starskope
