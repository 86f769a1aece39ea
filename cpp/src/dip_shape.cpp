#include "dip_shape.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "dispatch.hpp"
#include "ranks.hpp"

namespace starskope::detail {
namespace {

constexpr std::size_t n_bottom = 10, n_length = 15, n_shift = 5, n_lane = n_bottom * n_shift;
constexpr double good_rise = 4.0, excluded_rise = 9.0; // of chi-squared: as good as the best, and excluded
constexpr double cells_per_duration = 16.0;
constexpr double window = 1.5; // durations on either side of the middle that take part
constexpr std::size_t least_points = 8;
constexpr int n_iteration = 6;
constexpr double slope_step = 0.03; // durations over which the slope is taken: a cadence moves little in them
constexpr double singular = 1e-9;   // determinant, its diagonal scaled to 1, below which nothing can be told apart

// As numpy.linspace gives them.
template <std::size_t n>
std::array<double, n> between(double low, double high) {
    std::array<double, n> out{};
    const double step = (high - low) / double(n - 1);
    for (std::size_t i = 0; i < n; ++i) {
        out[i] = double(i) * step + low;
    }
    out[n - 1] = high;
    return out;
}

const std::array<double, n_bottom> bottoms = between<n_bottom>(0.0, 0.9);
const std::array<double, n_length> lengths = between<n_length>(0.9, 2.3);
const std::array<double, n_shift> shifts = between<n_shift>(-0.2, 0.2);

struct Cells {
    std::size_t n_point = 0; // near the dip
    std::vector<double> place{}, flux{}, weight{};
};

// Weighted means of the points near the dip, in cells a sixteenth of its duration wide; empty cells are left out.
Cells cells(const Points& points, const Ephemeris& at, double level) {
    const double reach = std::min(window * at.duration, 0.5 * at.period);
    // A cell on either side more than the window holds: rounding never leaves the array.
    const std::size_t middle = count_of(std::ceil(reach / at.duration * cells_per_duration) + 1.0, "cells of a dip"),
                      size = 2 * middle + 1;
    Cells out;
    std::vector<double> total(size), x(size), y(size);
    for (std::size_t i = 0; i < points.n; ++i) {
        const double offset = from_event(points.time[i], at);
        if (std::fabs(offset) < reach) {
            const double place = offset / at.duration, weight = points.weight[i];
            const auto cell = std::size_t(double(middle) + std::floor(place * cells_per_duration));
            ++out.n_point;
            total[cell] += weight;
            x[cell] += weight * place;
            y[cell] += weight * (points.flux[i] - level);
        }
    }
    for (std::size_t c = 0; c < size; ++c) {
        if (total[c] > 0.0) {
            out.place.push_back(x[c] / total[c]);
            out.flux.push_back(y[c] / total[c]);
            out.weight.push_back(total[c]);
        }
    }
    return out;
}

// Area of a trapezoid of depth 1, flat to `inner` and ending at `outer`, from 0 to x.
double ramp(double x, double outer, double inner) {
    const double a = std::min(std::fabs(x), outer);
    double area = std::min(a, inner);
    if (a > inner) {
        area += (a - inner) - 0.5 * ((a - inner) * (a - inner)) / (outer - inner);
    }
    return x >= 0.0 ? area : -area;
}

// Depth at x of a trapezoid averaged over an exposure, 1 at its middle.
double smeared(double x, const DipShape& shape) {
    const double outer = 0.5 * shape.length, inner = outer * shape.bottom, half = 0.5 * shape.smear;
    const double peak = 2.0 * ramp(half, outer, inner);
    return (ramp(x + half, outer, inner) - ramp(x - half, outer, inner)) / peak;
}

using Matrix = std::array<std::array<double, 3>, 3>;

// Inverse of a symmetric matrix, its diagonal scaled to 1 meanwhile; false where it is nearly singular.
bool invert(const Matrix& normal, Matrix& out) {
    std::array<double, 3> scale{};
    Matrix a{};
    for (std::size_t j = 0; j < 3; ++j) {
        scale[j] = std::sqrt(normal[j][j]);
        if (!(scale[j] > 0.0)) {
            return false;
        }
    }
    for (std::size_t j = 0; j < 3; ++j) {
        for (std::size_t k = 0; k < 3; ++k) {
            a[j][k] = normal[j][k] / (scale[j] * scale[k]);
        }
    }
    for (std::size_t j = 0; j < 3; ++j) {
        const std::size_t j1 = (j + 1) % 3, j2 = (j + 2) % 3;
        for (std::size_t k = 0; k < 3; ++k) {
            const std::size_t k1 = (k + 1) % 3, k2 = (k + 2) % 3;
            out[k][j] = a[j1][k1] * a[j2][k2] - a[j1][k2] * a[j2][k1];
        }
    }
    const double determinant = a[0][0] * out[0][0] + a[0][1] * out[1][0] + a[0][2] * out[2][0];
    if (!(determinant > singular)) {
        return false;
    }
    for (std::size_t j = 0; j < 3; ++j) {
        for (std::size_t k = 0; k < 3; ++k) {
            out[j][k] = out[j][k] / determinant / (scale[j] * scale[k]);
        }
    }
    return true;
}

} // namespace

DipShape fit_shape(const Points& points, const Ephemeris& at, double level) {
    const Cells near = cells(points, at, level);
    if (near.n_point < least_points) {
        return box_shape;
    }
    const double smear = points.cadence / at.duration;
    std::array<double, n_lane> bottom{}, shift{};
    for (std::size_t k = 0; k < n_lane; ++k) {
        bottom[k] = bottoms[k / n_shift];
        shift[k] = shifts[k % n_shift];
    }
    std::array<double, 4 * n_lane> scratch;
    std::array<double, n_length * n_lane> chi2;
    active().dips->shapes({
        .place = near.place.data(),
        .flux = near.flux.data(),
        .weight = near.weight.data(),
        .n_point = near.place.size(),
        .length = lengths.data(),
        .n_length = n_length,
        .bottom = bottom.data(),
        .shift = shift.data(),
        .n_lane = n_lane,
        .smear = smear,
        .scratch = scratch.data(),
        .chi2 = chi2.data(),
    });
    const auto least_of = [&chi2](std::size_t length, std::size_t of_bottom) {
        const double* shapes = chi2.data() + length * n_lane + of_bottom * n_shift;
        return *std::min_element(shapes, shapes + n_shift);
    };
    std::array<double, n_bottom> per_bottom{};
    for (std::size_t j = 0; j < n_bottom; ++j) {
        per_bottom[j] = least_of(0, j);
        for (std::size_t i = 1; i < n_length; ++i) {
            per_bottom[j] = std::min(per_bottom[j], least_of(i, j));
        }
    }
    const double lowest = *std::min_element(per_bottom.begin(), per_bottom.end());
    // What averaging in cells hides of the points' scatter does not depend on the shape.
    const double freedom = std::max(double(near.place.size()) - 4.0, 1.0);
    const double unit = std::max({points.scatter * points.scatter, lowest / freedom, 1e-300});
    // Of the shapes as good as the best the flattest: a point at the bottom of a V makes dips deeper than they are.
    std::size_t good = 0, allowed = 0;
    for (std::size_t j = 0; j < n_bottom; ++j) {
        good = per_bottom[j] <= lowest + good_rise * unit ? j : good;
        allowed = per_bottom[j] <= lowest + excluded_rise * unit ? j : allowed;
    }
    std::size_t best = 0;
    for (std::size_t i = 1; i < n_length; ++i) {
        best = least_of(i, good) < least_of(best, good) ? i : best;
    }
    return {lengths[best], bottoms[good], bottoms[allowed], smear};
}

FittedEphemeris fit_ephemeris(const Points& points, const Ephemeris& at, const DipShape& shape, double level) {
    const FittedEphemeris unfitted{at, nan, nan};
    const double begin = points.begin(), end = points.end();
    const double middle = at.t0 + at.period * std::rint((0.5 * (begin + end) - at.t0) / at.period);
    const double reach = std::min(window * at.duration, 0.5 * at.period);
    std::vector<double> time, number, flux, root_w;
    double farthest = 1.0;
    for (std::size_t i = 0; i < points.n; ++i) {
        const double turn = std::rint((points.time[i] - middle) / at.period);
        if (std::fabs(points.time[i] - middle - turn * at.period) < reach) {
            time.push_back(points.time[i]);
            number.push_back(turn);
            flux.push_back(points.flux[i] - level);
            root_w.push_back(std::sqrt(points.weight[i]));
            farthest = std::max(farthest, std::fabs(turn));
        }
    }
    const std::size_t n = time.size();
    if (n < least_points || number.front() == number.back()) { // times increase, so numbers do not fall
        return unfitted;
    }
    double epoch = middle, period = at.period;
    Matrix covariance{};
    std::vector<double> rest = flux, model(n), columns(3 * n), left(n);
    // Gauss-Newton in depth, mid-transit near the middle of the times and period.
    for (int iteration = 0; iteration < n_iteration; ++iteration) {
        double norm = 0.0, product = 0.0;
        for (std::size_t i = 0; i < n; ++i) {
            const double x = (time[i] - epoch - number[i] * period) / at.duration;
            model[i] = smeared(x, shape);
            columns[n + i] = (smeared(x + slope_step, shape) - smeared(x - slope_step, shape)) / (2.0 * slope_step);
            norm += (root_w[i] * model[i]) * (root_w[i] * model[i]);
            product += root_w[i] * root_w[i] * model[i] * flux[i];
        }
        const double depth = norm > 0.0 ? -product / norm : 0.0;
        if (!(depth > 0.0)) {
            return unfitted;
        }
        Matrix normal{};
        std::array<double, 3> right{}, step{};
        for (std::size_t i = 0; i < n; ++i) {
            // d flux / d epoch = depth * slope / duration, and number times that for the period.
            columns[i] = -model[i];
            columns[n + i] = depth * columns[n + i] / at.duration;
            columns[2 * n + i] = columns[n + i] * number[i];
            left[i] = flux[i] + depth * model[i];
            for (std::size_t j = 0; j < 3; ++j) {
                const double weighted = columns[j * n + i] * (root_w[i] * root_w[i]);
                right[j] += weighted * left[i];
                for (std::size_t k = 0; k < 3; ++k) {
                    normal[j][k] += weighted * columns[k * n + i];
                }
            }
        }
        if (!invert(normal, covariance)) {
            return unfitted;
        }
        for (std::size_t j = 0; j < 3; ++j) {
            for (std::size_t k = 0; k < 3; ++k) {
                step[j] += covariance[j][k] * right[k];
            }
        }
        const double limit = 0.2 * at.duration;
        epoch += std::min(std::max(step[1], -limit), limit);
        period += std::min(std::max(step[2], -limit / farthest), limit / farthest);
        for (std::size_t i = 0; i < n; ++i) {
            rest[i] = left[i] - step[0] * columns[i] - step[1] * columns[n + i] - step[2] * columns[2 * n + i];
        }
    }
    if (std::fabs(epoch - middle) > 0.5 * at.duration || std::fabs(period - at.period) * farthest > 0.5 * at.duration) {
        return unfitted;
    }
    for (std::size_t i = 0; i < n; ++i) {
        rest[i] *= root_w[i];
    }
    const double centre = median(std::vector<double>(rest).data(), n);
    for (double& one : rest) {
        one = std::fabs(one - centre);
    }
    const double scatter = mad_to_sigma * median(rest.data(), n);
    const Ephemeris fitted{period, first_event(epoch, period, begin), at.duration};
    const double n_back = std::rint((epoch - fitted.t0) / period);
    const double t0_var = covariance[1][1] - 2.0 * n_back * covariance[1][2] + n_back * n_back * covariance[2][2];
    return {fitted, scatter * std::sqrt(covariance[2][2]), scatter * std::sqrt(std::max(t0_var, 0.0))};
}

} // namespace starskope::detail
