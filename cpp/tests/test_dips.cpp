// Ranks without sorting, and what is measured of dips: every instruction set gives the same, and what is put in is
// found.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "ranks.hpp"
#include "starskope/dips.hpp"

using namespace starskope;

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

struct Bounds {
    double low, high;
};

std::vector<double> values_of(int kind, std::size_t n) {
    std::mt19937_64 random(n);
    std::normal_distribution<double> noise;
    std::vector<double> out(n);
    for (std::size_t i = 0; i < n; ++i) {
        const auto x = double(i);
        const double of[] = {noise(random),
                             0.25,
                             double(random() % 3),
                             x,
                             -x,
                             std::min(x, double(n) - x),
                             random() % 10 == 0 ? -infinity : noise(random)};
        out[i] = of[kind];
    }
    return out;
}

// A sector of half-hour points with a gap, noise, and a dip of a depth every so many days.
struct Star {
    std::vector<double> time{}, flux{}, weight{};
    StarPoints points() const {
        return {{time.data(), time.size()}, {flux.data(), flux.size()}, {weight.data(), weight.size()}, 1.0 / 48.0};
    }
};

Star star_with(double period, double depth, unsigned seed = 3) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> noise(0.0, 1e-3);
    Star star;
    for (int i = 0; i < 1282; ++i) {
        if (i < 600 || i >= 660) {
            const double t = 1325.3 + i / 48.0;
            star.time.push_back(t);
            star.flux.push_back(noise(random) - (std::fmod(t - 1325.8, period) < 0.12 && t > 1325.8 ? depth : 0.0));
            star.weight.push_back(0.5 + double(random() % 1000) / 1000.0);
        }
    }
    return star;
}

// The same period twice in a spectrum of noise.
struct Trials {
    std::vector<double> period{}, shortest{}, longest{}, centre{};
    std::vector<std::int64_t> edge{};
    std::vector<float> statistic{};
    PeriodTrials view() const {
        return {{period.data(), period.size()},
                {shortest.data(), shortest.size()},
                {longest.data(), longest.size()},
                {edge.data(), edge.size()},
                {centre.data(), centre.size()}};
    }
};

Trials trials_with(double at) {
    Trials out;
    std::mt19937_64 random(1);
    for (int i = 0; i < 3000; ++i) {
        const double period = 0.6 * std::exp(i / 3000.0 * 2.9);
        out.period.push_back(period);
        out.shortest.push_back(0.06);
        out.longest.push_back(0.3);
        out.statistic.push_back(float(3.0 + double(random() % 1000) / 1000.0));
    }
    const auto near = std::min_element(out.period.begin(), out.period.end(),
                                       [at](double a, double b) { return std::fabs(a - at) < std::fabs(b - at); });
    out.statistic[std::size_t(near - out.period.begin())] = 40.0F;
    for (std::int64_t b = 0; b <= 3000; b += 300) {
        out.edge.push_back(b);
    }
    for (std::size_t b = 0; b + 1 < out.edge.size(); ++b) {
        out.centre.push_back(double(out.edge[b] + out.edge[b + 1] - 1) / 2.0);
    }
    return out;
}

} // namespace

TEST(ranks_are_those_of_sorted_values) {
    for (int kind = 0; kind < 7; ++kind) {
        for (const std::size_t n : {1UL, 2UL, 3UL, 8UL, 9UL, 10UL, 39UL, 100UL, 1283UL}) {
            const std::vector<double> values = values_of(kind, n);
            std::vector<double> sorted = values, scratch(n + 1);
            std::sort(sorted.begin(), sorted.end());
            const double middle = (n - 1) / 2 == n / 2 ? sorted[n / 2] : 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
            for (const std::size_t k : {std::size_t{0}, n / 3, (n - 1) / 2, n / 2, n - 1}) {
                std::vector<double> copy = values;
                CHECK(detail::ranked(copy.data(), n, k) == sorted[k]);
                for (const auto& [low, high] :
                     {Bounds{-0.1, 0.1}, {0.2, 3.0}, {no_number, no_number}, {1.0, -1.0}, {-infinity, infinity}}) {
                    CHECK(detail::ranked_between(values.data(), n, k, low, high, scratch.data()) == sorted[k]);
                    CHECK(detail::median_between(values.data(), n, low, high, scratch.data()) == middle);
                }
            }
            std::vector<double> copy = values;
            CHECK(detail::median(copy.data(), n) == middle);
            if (kind != 6) {
                std::vector<double> deviations = values;
                for (double& one : deviations) {
                    one = std::fabs(one - middle);
                }
                const double sigma = 1.4826 * detail::median(deviations.data(), n);
                for (const detail::Spread expected :
                     {detail::Spread{0.0, 1.0}, {no_number, no_number}, {100.0, 1e-3}, {middle, sigma}}) {
                    copy = values;
                    const detail::Spread found = detail::spread(copy.data(), n, expected, scratch.data());
                    CHECK(found.centre == middle);
                    CHECK(found.sigma == sigma);
                }
            }
        }
    }
    CHECK(std::isnan(detail::median(nullptr, 0)));
}

TEST(a_planet_is_vetted_alike_by_every_instruction_set) {
    const Star star = star_with(3.1, 6e-3);
    const Trials trials = trials_with(3.1);
    VettedDip first{};
    bool is_first = true;
    test::for_each_isa([&](const std::string&) {
        VettedDip found{};
        double sde = 0.0;
        CHECK(best_peak(star.points(), false, {trials.statistic.data(), 3000}, trials.view(), sde, found));
        CHECK(sde > 10.0);
        CHECK_CLOSE(found.period, 3.1, 0.005);
        CHECK_CLOSE(found.depth, 6e-3, 6e-4);
        CHECK(found.snr > 15.0);
        CHECK(found.n_transits >= 7.0 && found.n_transits <= 9.0);
        if (is_first) {
            first = found;
        }
        CHECK(std::memcmp(&first, &found, sizeof found) == 0);
        is_first = false;
        // Upside down the dips are rises.
        VettedDip turned{};
        CHECK(!best_peak(star.points(), true, {trials.statistic.data(), 3000}, trials.view(), sde, turned) ||
              turned.snr < 8.0);
    });
}

// A planet of very many sigma stands at multiples of its period as well, where it dips as deep.
TEST(the_period_is_settled_among_its_multiples) {
    for (const double factor : {1.0 / 3.0, 0.5, 2.0}) {
        const Star star = star_with(3.1, 6e-3);
        const Trials trials = trials_with(3.1 * factor);
        VettedDip found{};
        double sde = 0.0;
        CHECK(best_peak(star.points(), false, {trials.statistic.data(), 3000}, trials.view(), sde, found));
        CHECK_CLOSE(found.period, 3.1, 0.01);
    }
}

TEST(a_single_dip_is_found_and_not_where_it_is_forbidden) {
    Star star = star_with(1e9, 0.0, 5);
    for (std::size_t i = 0; i < star.time.size(); ++i) {
        star.flux[i] -= std::fabs(star.time[i] - 1332.0) < 0.12 ? 8e-3 : 0.0;
    }
    const double durations[] = {0.09, 0.13, 0.18, 0.25, 0.36}, forbidden[] = {1332.1};
    SingleDip dips[3], rises[3];
    SingleCounts n = single_dips(star.points(), {durations, 5}, {}, {dips, 3}, {rises, 3});
    CHECK(n.n_dip > 0);
    CHECK_CLOSE(dips[0].time, 1332.0, 0.03);
    CHECK_CLOSE(dips[0].duration, 0.25, 1e-9);
    CHECK_CLOSE(dips[0].depth, 8e-3, 8e-4);
    CHECK(dips[0].snr > 10.0);
    for (std::size_t k = 1; k < n.n_dip; ++k) {
        CHECK(dips[k].snr <= dips[k - 1].snr);
    }
    n = single_dips(star.points(), {durations, 5}, {forbidden, 1}, {dips, 3}, {rises, 3});
    for (std::size_t k = 0; k < n.n_dip; ++k) {
        CHECK(std::fabs(dips[k].time - 1332.0) > 0.1);
    }
}

TEST(dips_refuse_what_is_out_of_order) {
    Star star = star_with(3.1, 6e-3);
    const Trials trials = trials_with(3.1);
    VettedDip found{};
    double sde = 0.0;
    const auto peak = [&](const StarPoints& points, const PeriodTrials& of) {
        best_peak(points, false, {trials.statistic.data(), 3000}, of, sde, found);
    };
    StarPoints points = star.points();
    points.cadence = 0.0;
    CHECK_THROWS(std::invalid_argument, "cadence=0", peak(points, trials.view()));
    points = star.points();
    points.flux.size = 5;
    CHECK_THROWS(std::invalid_argument, "flux: has 5", peak(points, trials.view()));
    std::swap(star.time[3], star.time[4]);
    CHECK_THROWS(std::invalid_argument, "time[4]", peak(star.points(), trials.view()));
    std::swap(star.time[3], star.time[4]);
    star.flux[7] = no_number;
    CHECK_THROWS(std::invalid_argument, "flux[7]", peak(star.points(), trials.view()));
    star.flux[7] = 0.0;
    star.weight[9] = 0.0;
    CHECK_THROWS(std::invalid_argument, "weight[9]", peak(star.points(), trials.view()));
    star.weight[9] = 1.0;
    Trials wrong = trials;
    wrong.edge.back() = 2999;
    CHECK_THROWS(std::invalid_argument, "edge", peak(star.points(), wrong.view()));
    wrong = trials;
    wrong.shortest[12] = 0.0;
    CHECK_THROWS(std::invalid_argument, "period[12]", peak(star.points(), wrong.view()));
    Ephemeris at{};
    CHECK_THROWS(std::invalid_argument, "period=0", locate_box(star.points(), 0.0, 0.1, 0.3, at));
    CHECK_THROWS(std::invalid_argument, "cells of a period", locate_box(star.points(), 3.0, 1e-300, 0.3, at));
}
