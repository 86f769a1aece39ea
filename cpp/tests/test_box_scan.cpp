#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "starskope/box.hpp"

using namespace starskope;

namespace {

struct Stars {
    std::size_t n_time, n_star;
    std::vector<double> time;
    std::vector<float> flux, error;

    BoxScan scan(bool errors) const {
        return BoxScan(View1<const double>{time.data(), n_time}, {flux.data(), n_time, n_star},
                       errors ? View2<const float>{error.data(), n_time, n_star} : View2<const float>{});
    }
};

Stars make_stars(std::size_t n_time, std::size_t n_star, double gap, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    Stars stars{n_time, n_star, {}, {}, {}};
    double now = 100.0;
    for (std::size_t i = 0; i < n_time; ++i) {
        now += uniform(random) < 0.01 ? gap : 0.02 + 1e-3 * uniform(random);
        stars.time.push_back(now);
        for (std::size_t star = 0; star < n_star; ++star) {
            stars.flux.push_back(uniform(random) < 0.03 ? std::numeric_limits<float>::quiet_NaN() : normal(random));
            stars.error.push_back(float(0.5 + uniform(random)));
        }
    }
    return stars;
}

struct Asked {
    std::vector<double> period, duration;
    std::vector<std::int32_t> first, last;
    int oversample = 4;

    Asked(std::vector<double> periods, std::vector<double> durations)
        : period(std::move(periods)), duration(std::move(durations)), first(period.size(), 0),
          last(period.size(), std::int32_t(duration.size())) {}
    BoxTrials trials(BoxObjective objective = BoxObjective::snr) const {
        return {.period = {period.data(), period.size()},
                .duration = {duration.data(), duration.size()},
                .oversample = oversample,
                .first = {first.data(), first.size()},
                .last = {last.data(), last.size()},
                .objective = objective};
    }
};

// Dips, then brightenings: (2, n_period, n_star).
std::vector<float> run(const BoxScan& scan, const Asked& asked, BoxObjective objective = BoxObjective::snr) {
    const std::size_t n_period = asked.period.size(), n = n_period * scan.n_star();
    std::vector<float> found(2 * n, -7.0f);
    scan.run(asked.trials(objective), {found.data(), n_period, scan.n_star()},
             {found.data() + n, n_period, scan.n_star()});
    return found;
}

bool same_bytes(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The best gain where all points are folded at once: few points are one stretch.
double best_gain(const Stars& stars, std::size_t star, double period, double duration, int oversample, double sign) {
    const auto least = std::size_t(std::ceil(period / (duration / oversample)));
    const std::size_t n_bin = (least + 15) / 16 * 16;
    const auto length = std::size_t(std::floor(duration / period * double(n_bin) + 0.5));
    std::vector<std::size_t> there;
    for (std::size_t i = 0; i < stars.n_time; ++i) {
        if (!std::isnan(stars.flux[i * stars.n_star + star])) {
            there.push_back(i);
        }
    }
    const double middle = 0.5 * (stars.time[there.front()] + stars.time[there.back()]) - stars.time[0];
    std::vector<double> sum(n_bin), count(n_bin);
    double total = 0.0;
    for (const std::size_t i : there) {
        const double turns = (stars.time[i] - stars.time[0] - middle) * (1.0 / period);
        const auto bin = std::min(std::size_t((turns - std::floor(turns)) * double(n_bin)), n_bin - 1);
        sum[bin] += sign * double(stars.flux[i * stars.n_star + star]);
        count[bin] += 1.0;
        total += sign * double(stars.flux[i * stars.n_star + star]);
    }
    double best = 0.0;
    for (std::size_t start = 0; start < n_bin; ++start) {
        double inside = 0.0, n = 0.0;
        for (std::size_t b = 0; b < length; ++b) {
            inside += sum[(start + b) % n_bin];
            n += count[(start + b) % n_bin];
        }
        const double others = double(there.size()) - n;
        const double depth = (total - inside) / others - inside / n;
        if (n > 0.0 && others > 0.0 && depth > 0.0) {
            best = std::max(best, 0.5 * depth * depth * n * others / double(there.size()));
        }
    }
    return best;
}

} // namespace

TEST(few_points_are_folded_as_they_are) {
    test::for_each_isa([](const std::string&) {
        const Stars stars = make_stars(120, 3, 1.7, 1);
        const Asked asked({0.5, 1.3, 0.31}, {0.05});
        const std::vector<float> found = run(stars.scan(false), asked);
        for (std::size_t p = 0; p < 3; ++p) {
            for (std::size_t star = 0; star < 3; ++star) {
                const double dip = best_gain(stars, star, asked.period[p], 0.05, 4, 1.0);
                const double rise = best_gain(stars, star, asked.period[p], 0.05, 4, -1.0);
                CHECK_CLOSE(found[p * 3 + star], dip, 4e-6 * dip);
                CHECK_CLOSE(found[9 + p * 3 + star], rise, 4e-6 * rise);
            }
        }
    });
}

TEST(all_instruction_sets_scan_alike) {
    for (const std::size_t n_time : {1u, 2u, 255u, 257u, 5000u}) {
        const Stars stars = make_stars(n_time, 2, 97.0, unsigned(n_time));
        std::vector<double> periods;
        for (int i = 0; i < 60; ++i) {
            periods.push_back(0.3 * std::pow(1.2, i % 37) + 1e-5 * i);
        }
        const Asked asked(periods, {0.03, 0.05, 0.11, 0.4, 2.0});
        for (const BoxObjective objective : {BoxObjective::snr, BoxObjective::likelihood}) {
            std::vector<std::vector<float>> found;
            test::for_each_isa([&](const std::string&) {
                found.push_back(run(stars.scan(true), asked, objective));
                CHECK(same_bytes(found.back(), found.front()));
            });
        }
    }
}

TEST(a_period_is_searched_alike_in_any_list) {
    const Stars stars = make_stars(3000, 1, 500.0, 5);
    std::vector<double> periods;
    for (int i = 0; i < 300; ++i) {
        periods.push_back(1.0 / (0.4 + 1e-4 * i));
    }
    const BoxScan scan = stars.scan(true);
    const std::vector<float> all = run(scan, Asked(periods, {0.05, 0.1}));
    for (const std::size_t p : {0u, 17u, 299u}) {
        const std::vector<float> one = run(scan, Asked({periods[p]}, {0.05, 0.1}));
        CHECK(one[0] == all[p] && one[1] == all[300 + p]);
    }
}

TEST(hostile_trials_stay_inside_their_memory) {
    std::mt19937 random(3);
    std::uniform_real_distribution<double> exponent(-12.0, 8.0);
    test::for_each_isa([&](const std::string&) {
        const Stars stars = make_stars(1500, 1, 1e6, 9);
        const BoxScan scan = stars.scan(true);
        for (int i = 0; i < 200; ++i) {
            const double duration = std::pow(10.0, exponent(random));
            Asked asked({duration * 1.01, duration * 17.0, duration * 3333.0, duration * 2e5},
                        {duration, duration * 1.5});
            asked.oversample = 1 + i % 4;
            run(scan, asked);
        }
        for (const double tiny : {1e-300, 5e-324 * 4096}) {
            run(scan, Asked({tiny * 64, tiny * 100}, {tiny, tiny * 2}));
            std::vector<float> power(1);
            const BoxSearch exact(View1<const double>{stars.time.data(), stars.n_time}, {stars.flux.data(), 1500, 1});
            exact.run(Asked({tiny * 64}, {tiny}).trials(), {.power = {power.data(), 1, 1}});
        }
    });
}

TEST(wrong_trials_of_a_scan_are_refused) {
    const Stars stars = make_stars(20, 2, 1.0, 1);
    const BoxScan scan = stars.scan(false);
    std::vector<float> out(8);
    const Asked asked({0.5, 1.3}, {0.05});
    CHECK_THROWS(std::invalid_argument, "power", scan.run(asked.trials(), {out.data(), 4, 2}));
    CHECK_THROWS(std::invalid_argument, "inverted", scan.run(asked.trials(), {out.data(), 2, 2}, {out.data(), 1, 2}));
    CHECK_THROWS(std::invalid_argument, "period[0]", run(scan, Asked({NAN}, {0.05})));
    CHECK_THROWS(std::invalid_argument, "period[0]", run(scan, Asked({1e9}, {0.05})));
    CHECK_THROWS(std::invalid_argument, "time: has 19",
                 BoxScan({stars.time.data(), 19}, {stars.flux.data(), 20, 2}, {}));
}
