#include "dip_vetting.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "dip_boxes.hpp"
#include "dip_phases.hpp"
#include "dip_shape.hpp"

namespace starskope::detail {
namespace {

constexpr double multiples[] = {2.0, 3.0, 0.5, 1.0 / 3.0};
// A longer period replaces the one found when its squared signal-to-noise ratio exceeds that by this factor: events
// lost in noise make any period look twice as long. A shorter one only has to be as good.
constexpr double better = 1.15;
// Signal-to-noise ratio from which a shape is fitted and multiples are tried; they gain at most a factor of 1.4.
constexpr double least_shape = 5.0;
// Signal-to-noise ratio from which the ephemeris is fitted to the shape: a claim needs more.
constexpr double least_fit = 6.0;
// Another ephemeris replaces the one at hand unless its squared signal-to-noise ratio falls below this part.
constexpr double not_worse = 0.95;
// Scatter of the events over the noise that does not count yet: three true events scatter by as much.
constexpr double free_scatter = 1.3;
// From here on a dip at another phase is taken out of the noise.
constexpr double own_sigma = 4.0;
// Odd and even events are two kinds of events beyond this: the period is then twice as long.
constexpr double different_sigma = 5.0, different_fraction = 0.1;

// Squared signal-to-noise ratio with red noise alone; 0 where nothing dips.
double squared_snr(const Measured& found) {
    const double ratio = found.depth.value / found.depth.formal;
    return found.depth.value > 0.0 && found.depth.formal > 0.0 ? ratio * ratio : 0.0;
}

// Squared signal-to-noise ratio by which periods compare; 0 where nothing dips.
double strength(const Measured& found) {
    const Depth& depth = found.depth;
    if (!(depth.value > 0.0 && depth.formal > 0.0)) {
        return 0.0;
    }
    const double growth = std::max(1.0, depth.error / depth.formal / free_scatter);
    return squared_snr(found) / (growth * growth);
}

// Twice the period keeps half of the events: whether these are two kinds is for odd and even to say (`alternates`), so
// that their scatter does not count here; it does where a third of them is compared.
bool is_better(const Measured& other, const Measured& best) {
    const double ratio = other.at.period / best.at.period;
    const bool by_scatter = std::fabs(std::log2(ratio) - std::rint(std::log2(ratio))) > 0.1;
    const double gain = by_scatter ? strength(other) / strength(best) : squared_snr(other) / squared_snr(best);
    return gain > (ratio > 1.0 ? better : 1.0);
}

// The best of the ephemerides with a multiple of the period that keep some of the events; false where none is tried.
bool tried(const Points& points, const Measured& found, double multiple, const Limits& limits, Measured& best) {
    const Ephemeris& at = found.at;
    const double period = at.period * multiple;
    if (!(limits.period_min <= period && period <= limits.period_max) || at.duration > 0.3 * period) {
        return false;
    }
    const double n = multiple > 1.0 ? std::rint(multiple) : 1.0;
    for (double k = 0.0; k < n; ++k) {
        const double t0 = first_event(at.t0 + k * at.period, period, points.begin());
        Measured one = measured_at(points, {period, t0, at.duration}, found.shape);
        if (k == 0.0 || strength(one) > strength(best)) {
            best = std::move(one);
        }
    }
    return true;
}

// Twice the period where odd and even events differ beyond doubt and three of the deeper ones were seen.
bool alternates(const Points& points, const Measured& found, const Limits& limits, Measured& twice) {
    const Difference difference = odd_even(found);
    const double size = std::fabs(difference.value);
    return size > different_sigma * difference.error && size > different_fraction * found.depth.value &&
           tried(points, found, 2.0, limits, twice) && twice.number.size() >= 3;
}

// Durations go with the cube root of the period.
Limits durations_of(double period, const Limits& limits, double before) {
    const double factor = std::pow(period / before, 1.0 / 3.0);
    return {limits.period_min, limits.period_max, limits.duration_min * std::min(factor, 1.0),
            limits.duration_max * factor};
}

struct Secondary {
    double n;
    Depth depth;
};

// The events at the phase of the deepest other dip; none where no other phase was seen (NaN).
Secondary secondary_of(const Points& points, const Measured& found, double phase) {
    if (!std::isfinite(phase)) {
        return {0.0, {nan, nan, nan}};
    }
    Measured other;
    other.white = found.white;
    other.red = found.red;
    other.level = found.level;
    const double t0 = first_event(found.at.t0 + phase * found.at.period, found.at.period, points.begin());
    observed_events(points, {found.at.period, t0, found.at.duration}, found.shape, other);
    return {double(other.number.size()), weighted_mean(other.event_depth, other.variance)};
}

Measured shaped(const Points& points, const Ephemeris& at, double level) {
    return measured_at(points, at, fit_shape(points, at, level));
}

} // namespace

double snr(const Measured& found) {
    return found.depth.value > 0.0 && found.depth.error > 0.0 ? found.depth.value / found.depth.error : 0.0;
}

Measured measure(const Points& points, const Ephemeris& start, double frequency_step, const Limits& limits) {
    return measured_at(points, refine(points, start, frequency_step, limits.duration_min, limits.duration_max),
                       box_shape);
}

VettedDip vet(const Points& points, Measured found, const Limits& limits) {
    const double period_found = found.at.period;
    bool is_settled = true;
    Measured best = std::move(found);
    if (best.depth.value > least_shape * best.depth.formal) {
        const Measured first = shaped(points, best.at, best.level);
        best = first;
        Measured other;
        for (const double multiple : multiples) {
            if (tried(points, first, multiple, limits, other) && is_better(other, best)) {
                best = std::move(other);
                is_settled = false;
            }
        }
        if (alternates(points, best, limits, other)) {
            best = std::move(other);
            is_settled = false;
        }
    }
    if (!is_settled) {
        // The box that fits two kinds of dips at once fits neither: seek again near the period that was settled.
        const double span = points.end() - points.begin();
        const double step = best.at.duration / (3.0 * best.at.period * std::max(span, best.at.period));
        Measured again = measure(points, best.at, step, durations_of(best.at.period, limits, period_found));
        again = shaped(points, again.at, again.level);
        if (strength(again) > not_worse * strength(best)) {
            best = std::move(again);
        }
    }
    double period_err = nan, t0_err = nan;
    if (best.shape.length > 0.0 && snr(best) > least_fit) {
        const FittedEphemeris fit = fit_ephemeris(points, best.at, best.shape, best.level);
        Measured fitted = shaped(points, fit.at, best.level);
        if (strength(fitted) > not_worse * strength(best)) {
            best = std::move(fitted);
            period_err = fit.period_err;
            t0_err = fit.t0_err;
        }
    }
    PhaseScan scan = scan_phases(points, best);
    const double phase = scan.secondary_phase;
    Secondary secondary = secondary_of(points, best, phase);
    double gain = scan.box_gain;
    if (secondary.depth.value >= own_sigma * secondary.depth.error) {
        // What dips at the same phase every time is no noise, and no sine has two dips as sharp.
        gain += scan.secondary_gain;
        best = measured_at(points, best.at, best.shape, phase);
        scan = scan_phases(points, best);
        secondary = secondary_of(points, best, phase);
    }
    const double error = std::max(best.depth.error, best.depth.formal * scan.coherent);
    const Difference difference = odd_even(best);
    const bool is_shaped = best.shape.length > 0.0;
    return {
        .period = best.at.period,
        .t0 = best.at.t0,
        .duration = best.at.duration,
        .depth = best.depth.value,
        .depth_err = error,
        .snr = best.depth.value / error,
        .n_transits = double(best.number.size()),
        .n_consistent = n_consistent(best),
        .steadiness = steadiness(best),
        .odd_even = difference.value,
        .odd_even_err = difference.error,
        .secondary = secondary.depth.value,
        .secondary_err = std::max(secondary.depth.error, secondary.depth.formal * scan.coherent),
        .secondary_phase = phase,
        .n_secondary = secondary.n,
        .bump = scan.bump,
        .flat_bottom = is_shaped ? best.shape.bottom : nan,
        .flat_bottom_max = is_shaped ? best.shape.bottom_max : nan,
        .length = is_shaped ? best.shape.length : nan,
        .period_err = period_err,
        .t0_err = t0_err,
        .gain = gain,
        .level = best.level,
    };
}

} // namespace starskope::detail
