#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "dip_events.hpp"
#include "ranks.hpp"

namespace starskope::detail {
namespace {

[[noreturn]] void refuse(const char* name, std::size_t i, double value, const char* expected) {
    throw std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "]=" + std::to_string(value) +
                                ": expected " + expected);
}

} // namespace

Points ready(const StarPoints& points, bool upside_down, std::vector<double>& turned) {
    const std::size_t n = points.time.size;
    require_size(points.time, n, "time");
    require_size(points.flux, n, "flux");
    require_size(points.weight, n, "weight");
    if (n < 2) {
        throw std::invalid_argument("time: has " + std::to_string(n) + " elements, expected 2 or more");
    }
    if (!(points.cadence > 0.0) || std::isinf(points.cadence)) {
        throw std::invalid_argument("cadence=" + std::to_string(points.cadence) + ": expected days above 0");
    }
    for (std::size_t i = 0; i < n; ++i) {
        const double time = points.time.data[i], flux = points.flux.data[i], weight = points.weight.data[i];
        if (!std::isfinite(time) || (i > 0 && !(time > points.time.data[i - 1]))) {
            refuse("time", i, time, "days that increase");
        }
        if (!std::isfinite(flux)) {
            refuse("flux", i, flux, "a finite number");
        }
        if (!(weight > 0.0) || std::isinf(weight)) {
            refuse("weight", i, weight, "a finite number above 0");
        }
    }
    std::vector<double> scaled(n), scratch(n + 1);
    double sum = 0.0, square = 0.0, total = 0.0, moment = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
        scaled[i] = points.flux.data[i] * std::sqrt(points.weight.data[i]);
        sum += scaled[i];
        square += scaled[i] * scaled[i];
        total += points.weight.data[i];
        moment += points.weight.data[i] * points.flux.data[i];
    }
    const double mean = sum / double(n);
    const double sigma = std::sqrt(std::max(square / double(n) - mean * mean, 0.0));
    const Spread of = spread(scaled.data(), n, {mean, sigma}, scratch.data());
    const double sign = upside_down ? -1.0 : 1.0;
    const double* flux = points.flux.data;
    if (upside_down) {
        turned.resize(n);
        std::transform(flux, flux + n, turned.begin(), [](double one) { return -one; });
        flux = turned.data();
    }
    return {points.time.data, flux,  points.weight.data,     n, points.cadence, sign * of.centre,
            of.sigma,         total, sign * (moment / total)};
}

} // namespace starskope::detail
