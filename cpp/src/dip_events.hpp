// One ephemeris of one star: level and noise outside its events, every event by itself, and their mean depth. Private
// to the entry points.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "starskope/dips.hpp"

namespace starskope::detail {

inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();
// Events, cells: more than any light curve asks for, and few enough for memory and 32 bits.
inline constexpr double most_cells = 4'000'000.0;

// Throws std::invalid_argument unless the number of cells or events can be worked with.
std::size_t count_of(double n, const char* what);

struct Limits {
    double period_min, period_max, duration_min, duration_max; // days
};

// A trapezoid in units of the box's duration. Length 0: the box itself.
struct DipShape {
    double length;     // whole length
    double bottom;     // flat part of it: 0 = V, 0.9 = box
    double bottom_max; // the largest that the data allow
    double smear;      // exposure
};
inline constexpr DipShape box_shape{0.0, 1.0, 1.0, 0.0};

// The points with what all loops over them ask for.
struct Points {
    const double *time, *flux, *weight;
    std::size_t n;
    double cadence;
    double centre, scatter; // of flux sqrt(weight): its median and standard deviation
    double total, mean;     // sum of the weights, weighted mean of the flux

    double begin() const { return time[0]; }
    double end() const { return time[n - 1]; }
};

struct Depth {
    double value;
    double formal; // error from noise alone
    double error;  // with the scatter of the events
};

struct Measured {
    Ephemeris at{nan, nan, nan};
    DipShape shape = box_shape;        // what was fitted to each event, its depth free
    std::vector<double> number{};      // of the observed events: mid-transit is t0 + number * period
    std::vector<double> event_depth{}; // below the level outside
    std::vector<double> variance{};    // with red noise
    Depth depth{nan, nan, nan};
    double white = nan, red = nan, level = nan; // noise and mean flux of the quiet points
};

// Checks the points of a star, and sums them up. With `upside_down` dips are rises; `turned` then holds the flux.
Points ready(const StarPoints& points, bool upside_down, std::vector<double>& turned);

// First mid-transit at or after `start`.
double first_event(double t0, double period, double start);

// Days from the nearest event.
double from_event(double time, const Ephemeris& at);

// Mean by inverse variance; its error grows with the scatter of the events where that is larger; NaN of none.
Depth weighted_mean(const std::vector<double>& depth, const std::vector<double>& variance);

// White noise of a point of weight 1 and red noise of a box of one duration (Pont, Zucker & Queloz 2006,
// doi:10.1111/j.1365-2966.2006.11012.x): the means of all boxes scatter by white^2 / n + red^2. Scatters come from the
// median absolute deviation, and from the 95th percentile where that is larger, so that long tails count as noise.
// `expected` only decides the time.
struct Noise {
    double white, red;
};
Noise split_noise(const double* time, const double* flux, const double* weight, std::size_t n, double duration,
                  double centre, double scatter);

// An ephemeris as it is. other_phase: of what else dips with this period, which is not quiet either; NaN = nothing.
Measured measured_at(const Points& points, const Ephemeris& at, const DipShape& shape, double other_phase = nan);

// Number, depth and variance of the events of which enough was observed.
void observed_events(const Points& points, const Ephemeris& at, const DipShape& shape, Measured& found);

} // namespace starskope::detail
