// What is measured of dips under random calls; see hostile.hpp.
#include <algorithm>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "hostile.hpp"
#include "starskope/dips.hpp"

using namespace starskope;
using test::attack;
using test::Attack;

namespace {

// Mostly points in order, so that not every call is refused at once.
StarPoints points_of(Attack& a) {
    const std::size_t n = a.once_in(3) ? a.size() : 60 + a.below(200);
    const double step = a.once_in(8) ? 1.0 : 0.02, deep = a.once_in(2) ? 0.02 : 1e6;
    const bool odd = a.once_in(30);
    double time = a.once_in(8) ? -1e9 : 1300.0;
    const auto times = a.vector<const double>(a.near(n), [&](std::size_t) {
        time += step * double(1 + a.below(3) + (a.once_in(20) ? a.below(200) : 0));
        return odd && a.once_in(n + 1) ? a.number() : time;
    });
    const auto flux = a.vector<const double>(a.near(n), [&](std::size_t i) {
        return odd && a.once_in(n + 1) ? a.number() : double(a.below(1000)) / 1e6 - (i % 31 < 3 ? deep : 0.0);
    });
    const auto weight = a.vector<const double>(a.near(n), [&](std::size_t) {
        return odd && a.once_in(n + 1) ? a.number() : 0.5 + double(a.below(1000)) / (a.once_in(50) ? 1e-9 : 1e3);
    });
    return {times, flux, weight, a.setting(step)};
}

PeriodTrials trials_of(Attack& a, std::size_t n) {
    double period = 0.1 + double(a.below(100)) / 30.0;
    const auto periods = a.vector<const double>(a.near(n), [&](std::size_t) {
        return a.once_in(4000) ? a.number() : period *= 1.001 + double(a.below(90)) / 1e4;
    });
    const auto duration = [&](std::size_t) {
        return a.once_in(4000) ? a.number() : 0.02 + double(a.below(100)) / 300.0;
    };
    const std::size_t n_band = 1 + a.below(std::max<std::size_t>(n / 8, 1));
    const auto shortest = a.vector<const double>(a.near(n), duration),
               longest = a.vector<const double>(a.near(n), duration);
    const auto edge = [&](std::size_t b) { return a.once_in(900) ? a.below(n + 9) : b * n / n_band; };
    return {periods, shortest, longest,
            a.vector<const std::int64_t>(a.near(n_band + 1), [&](std::size_t b) { return double(edge(b)); }),
            a.vector<const double>(a.near(n_band), [&](std::size_t b) {
                return a.once_in(900) ? a.number() : double(b * n / n_band + (b + 1) * n / n_band - 1) / 2.0;
            })};
}

} // namespace

TEST(hostile_best_peak) {
    attack("best_peak", 500, [](Attack& a) {
        const std::size_t n = 1 + a.below(95);
        const StarPoints points = points_of(a);
        const auto statistic = a.vector<const float>(
            a.near(n), [&](std::size_t) { return a.once_in(300) ? a.number() : double(a.below(1000)) / 100.0; });
        const PeriodTrials trials = trials_of(a, n);
        double sde = 0.0;
        VettedDip found{};
        best_peak(points, a.once_in(2), statistic, trials, sde, found);
    });
}

TEST(hostile_detrend_spectrum) {
    attack("detrend_spectrum", 500, [](Attack& a) {
        const std::size_t n = 1 + a.below(95);
        const auto statistic = a.vector<const float>(a.near(n));
        const PeriodTrials trials = trials_of(a, n);
        detrend_spectrum(statistic, trials.edge, trials.centre, a.vector<double>(a.near(n)));
    });
}

TEST(hostile_locate_and_refine) {
    attack("refine_box", 500, [](Attack& a) {
        const StarPoints points = points_of(a);
        Ephemeris found{a.setting(1.3), a.setting(1300.0), a.setting(0.1)};
        if (a.once_in(2)) {
            locate_box(points, a.setting(1.3), a.setting(0.08), a.setting(0.3), found);
        }
        refine_box(points, found, a.setting(1e-3), a.setting(0.08), a.setting(0.3));
    });
}

TEST(hostile_single_dips) {
    attack("single_dips", 500, [](Attack& a) {
        const StarPoints points = points_of(a);
        const auto durations = a.vector<const double>(
            a.below(8), [&](std::size_t k) { return a.once_in(60) ? a.number() : 0.06 * double(k + 1); });
        double time = 1300.0;
        const auto forbidden = a.vector<const double>(a.below(30), [&](std::size_t) {
            return a.once_in(200) ? a.number() : time += double(a.below(100)) / 30.0;
        });
        std::vector<SingleDip> dips(a.below(5)), rises(a.near(dips.size()) % 100);
        single_dips(points, durations, forbidden, {dips.data(), dips.size()}, {rises.data(), rises.size()});
    });
}

TEST(hostile_centre_series) {
    attack("centre_series", 500, [](Attack& a) {
        const std::size_t n_time = a.size(), n_star = a.size(), n_part = 1 + a.below(3);
        const auto flux = a.matrix<const float>(n_time, n_star);
        const auto part = a.vector<const std::int64_t>(
            a.near(n_time), [&](std::size_t) { return double(a.once_in(300) ? a.below(9) : a.below(n_part)); });
        centre_series(flux, part, std::int64_t(n_part), a.matrix<float>(a.near(n_time), a.near(n_star)));
    });
}
