#include "starskope/box.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"

using namespace starskope;

namespace {

constexpr float missing = std::numeric_limits<float>::quiet_NaN();

struct Stars {
    std::size_t n_time, n_star;
    std::vector<double> time;
    std::vector<float> flux, error;

    View2<const float> flux_view() const { return {flux.data(), n_time, n_star}; }
    View2<const float> error_view() const { return {error.data(), n_time, n_star}; }
};

Stars make_stars(std::size_t n_time, std::size_t n_star, double gone, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    Stars stars{n_time, n_star, {}, {}, {}};
    double now = 100.0;
    for (std::size_t i = 0; i < n_time; ++i) {
        now += uniform(random) < 0.02 ? 1.7 : 0.02 + 1e-3 * uniform(random);
        stars.time.push_back(now);
        for (std::size_t star = 0; star < n_star; ++star) {
            stars.flux.push_back(uniform(random) < gone ? missing : normal(random));
            stars.error.push_back(float(0.5 + uniform(random)));
        }
    }
    return stars;
}

struct Found {
    std::vector<float> power, inverted, depth;
    std::vector<std::int32_t> duration, start;

    bool operator==(const Found& other) const {
        const auto same = [](const auto& a, const auto& b) {
            return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
        };
        return same(power, other.power) && same(inverted, other.inverted) && same(depth, other.depth) &&
               duration == other.duration && start == other.start;
    }
};

struct Asked {
    std::vector<double> period, duration;
    std::vector<std::int32_t> first, last;
    int oversample = 3;
    BoxObjective objective = BoxObjective::snr;

    Asked(std::vector<double> periods, std::vector<double> durations)
        : period(std::move(periods)), duration(std::move(durations)), first(period.size(), 0),
          last(period.size(), std::int32_t(duration.size())) {}
    BoxTrials trials() const {
        return {.period = {period.data(), period.size()},
                .duration = {duration.data(), duration.size()},
                .oversample = oversample,
                .first = {first.data(), first.size()},
                .last = {last.data(), last.size()},
                .objective = objective};
    }
};

Found run(const BoxSearch& search, const Asked& asked) {
    const std::size_t n_period = asked.period.size(), n_star = search.n_star(), n = n_period * n_star;
    Found found{std::vector<float>(n, -7.0f), std::vector<float>(n, -7.0f), std::vector<float>(n, -7.0f),
                std::vector<std::int32_t>(n, -7), std::vector<std::int32_t>(n, -7)};
    search.run(asked.trials(), {.power = {found.power.data(), n_period, n_star},
                                .inverted = {found.inverted.data(), n_period, n_star},
                                .depth = {found.depth.data(), n_period, n_star},
                                .duration = {found.duration.data(), n_period, n_star},
                                .start = {found.start.data(), n_period, n_star}});
    return found;
}

// The gain of one box by its definition, `sign` -1 for brightenings; 0 where nothing dips.
double gain_of(const Stars& stars, bool errors, std::size_t star, const Asked& asked, std::size_t p, std::size_t start,
               std::size_t k, double sign, double* depth = nullptr) {
    const double period = asked.period[p], width = asked.duration[0] / asked.oversample;
    const auto n_bin = std::size_t(std::ceil(period / width));
    const auto length = std::size_t(std::floor(asked.duration[k] / width + 0.5));
    double sum[2] = {}, weight[2] = {};
    for (std::size_t i = 0; i < stars.n_time; ++i) {
        const double y = stars.flux[i * stars.n_star + star], since = stars.time[i] - stars.time[0];
        if (std::isnan(y)) {
            continue;
        }
        const double e = errors ? stars.error[i * stars.n_star + star] : 1.0;
        const auto bin = std::min(std::size_t((since - period * std::floor(since / period)) / width), n_bin - 1);
        const bool inside = (bin + n_bin - start) % n_bin < length;
        sum[inside] += sign * y / (e * e);
        weight[inside] += 1.0 / (e * e);
    }
    const double d = sum[0] / weight[0] - sum[1] / weight[1];
    if (!(weight[0] > 0.0 && weight[1] > 0.0 && d > 0.0)) {
        return 0.0;
    }
    if (depth != nullptr) {
        *depth = d;
    }
    const double other = asked.objective == BoxObjective::snr ? weight[0] / (weight[0] + weight[1]) : 1.0;
    return 0.5 * d * d * weight[1] * other;
}

void check_definition(const Stars& stars, bool errors, const Asked& asked) {
    const BoxSearch search(View1<const double>{stars.time.data(), stars.n_time}, stars.flux_view(),
                           errors ? stars.error_view() : View2<const float>{});
    const Found found = run(search, asked);
    for (std::size_t p = 0; p < asked.period.size(); ++p) {
        const double width = asked.duration[0] / asked.oversample;
        const auto n_bin = std::size_t(std::ceil(asked.period[p] / width));
        for (std::size_t star = 0; star < stars.n_star; star += 3) {
            double dip = 0.0, rise = 0.0;
            bool any = false;
            std::size_t n_point = 0;
            for (std::size_t i = 0; i < stars.n_time; ++i) {
                n_point += !std::isnan(stars.flux[i * stars.n_star + star]);
            }
            for (std::size_t k = 0; k < asked.duration.size(); ++k) {
                if (std::floor(asked.duration[k] / width + 0.5) >= double(n_bin)) {
                    continue;
                }
                any = n_point >= 2;
                for (std::size_t start = 0; start < n_bin; ++start) {
                    dip = std::max(dip, gain_of(stars, errors, star, asked, p, start, k, 1.0));
                    rise = std::max(rise, gain_of(stars, errors, star, asked, p, start, k, -1.0));
                }
            }
            const std::size_t at = p * stars.n_star + star;
            if (!any) {
                CHECK(std::isnan(found.power[at]) && std::isnan(found.depth[at]) && found.start[at] == -1);
                continue;
            }
            CHECK_CLOSE(found.power[at], dip, 4e-6 * dip);
            CHECK_CLOSE(found.inverted[at], rise, 4e-6 * rise);
            CHECK((found.start[at] >= 0) == (dip > 0.0));
            if (found.start[at] >= 0) {
                double depth = 0.0;
                const double gain = gain_of(stars, errors, star, asked, p, std::size_t(found.start[at]),
                                            std::size_t(found.duration[at]), 1.0, &depth);
                CHECK_CLOSE(gain, dip, 4e-6 * dip);
                CHECK_CLOSE(found.depth[at], depth, 4e-6 * depth);
            }
        }
    }
}

} // namespace

TEST(best_boxes_are_the_best_of_all_boxes) {
    test::for_each_isa([](const std::string&) {
        for (const double gone : {0.0, 0.1}) {
            for (const std::size_t n_time : {2u, 9u, 70u}) {
                const Stars stars = make_stars(n_time, 35, gone, unsigned(n_time));
                Asked asked({0.5, 1.3, 0.31, 0.06, 0.0333}, {0.05, 0.11, 0.3});
                check_definition(stars, false, asked);
                asked.objective = BoxObjective::likelihood;
                check_definition(stars, true, asked);
            }
        }
    });
}

TEST(boxes_that_all_but_fill_the_period) {
    test::for_each_isa([](const std::string&) {
        const Stars stars = make_stars(50, 33, 0.2, 3);
        Asked asked({0.21, 0.2, 0.199}, {0.1, 0.15, 0.1999, 0.3});
        asked.oversample = 10;
        check_definition(stars, true, asked);
        asked.oversample = 1;
        check_definition(stars, false, asked);
    });
}

TEST(all_instruction_sets_find_the_same_boxes) {
    for (const bool errors : {false, true}) {
        const Stars stars = make_stars(300, 67, errors ? 0.0 : 0.02, 11);
        std::vector<Found> found;
        test::for_each_isa([&](const std::string&) {
            const BoxSearch search(View1<const double>{stars.time.data(), stars.n_time}, stars.flux_view(),
                                   errors ? stars.error_view() : View2<const float>{});
            found.push_back(run(search, Asked({0.7, 1.9, 3.3}, {0.08, 0.1, 0.21})));
            CHECK(found.back() == found.front());
        });
    }
}

TEST(nothing_to_search_writes_nothing_there) {
    test::for_each_isa([](const std::string&) {
        const Asked asked({0.7, 1.9}, {0.08});
        for (const std::size_t n_time : {0u, 1u}) {
            const Stars stars = make_stars(n_time, 3, 0.0, 1);
            const BoxSearch search(View1<const double>{stars.time.data(), n_time}, stars.flux_view());
            for (const float power : run(search, asked).power) {
                CHECK(std::isnan(power));
            }
        }
        const Stars none = make_stars(10, 0, 0.0, 1);
        const BoxSearch search(View1<const double>{none.time.data(), 10}, none.flux_view());
        CHECK(run(search, asked).power.empty());
        const Stars some = make_stars(10, 2, 0.0, 1);
        const BoxSearch other(View1<const double>{some.time.data(), 10}, some.flux_view());
        CHECK(run(other, Asked({}, {0.08})).power.empty());
        for (const float power : run(other, Asked({0.7}, {})).power) {
            CHECK(std::isnan(power));
        }
        const std::vector<float> constant(20, 3.25f);
        const BoxSearch still(View1<const double>{some.time.data(), 10}, {constant.data(), 10, 2});
        const Found found = run(still, asked);
        CHECK(found.power == std::vector<float>(4, 0.0f) && found.start == std::vector<std::int32_t>(4, -1));
    });
}

TEST(extreme_fluxes_and_errors_stay_in_range) {
    test::for_each_isa([](const std::string&) {
        for (const float scale : {1e-38f, 1e-20f, 1e18f, 1e37f}) {
            for (const float error : {1e-38f, 1.0f, 1e38f}) {
                Stars stars = make_stars(60, 34, 0.05, 5);
                for (float& flux : stars.flux) {
                    flux *= scale;
                }
                stars.error.assign(stars.error.size(), error);
                stars.error[7] *= 0.1f;
                const BoxSearch search(View1<const double>{stars.time.data(), stars.n_time}, stars.flux_view(),
                                       stars.error_view());
                for (const float depth : run(search, Asked({0.5, 1.3}, {0.05, 0.11})).depth) {
                    CHECK(!(depth < 0.0f));
                }
            }
        }
    });
}

TEST(wrong_trials_and_sizes_are_refused) {
    const Stars stars = make_stars(20, 4, 0.0, 1);
    const View1<const double> time{stars.time.data(), 20};
    const BoxSearch search(time, stars.flux_view());
    const auto changed = [&](auto&& change) {
        Asked asked({0.5, 1.3}, {0.05, 0.11});
        change(asked);
        return asked;
    };
    CHECK_THROWS(std::invalid_argument, "period[1]", run(search, changed([](Asked& a) { a.period[1] = 0.0; })));
    CHECK_THROWS(std::invalid_argument, "period[0]", run(search, changed([](Asked& a) { a.period[0] = 1e9; })));
    CHECK_THROWS(std::invalid_argument, "period[0]", run(search, changed([](Asked& a) { a.period[0] = NAN; })));
    CHECK_THROWS(std::invalid_argument, "duration[1]", run(search, changed([](Asked& a) { a.duration[1] = 0.05; })));
    CHECK_THROWS(std::invalid_argument, "first[0]=-1", run(search, changed([](Asked& a) { a.first[0] = -1; })));
    CHECK_THROWS(std::invalid_argument, "last[1]=3", run(search, changed([](Asked& a) { a.last[1] = 3; })));
    CHECK_THROWS(std::invalid_argument, "last: has 1", run(search, changed([](Asked& a) { a.last.pop_back(); })));
    CHECK_THROWS(std::invalid_argument, "oversample=0", run(search, changed([](Asked& a) { a.oversample = 0; })));
    std::vector<float> out(8);
    const Asked asked({0.5, 1.3}, {0.05});
    CHECK_THROWS(std::invalid_argument, "power", search.run(asked.trials(), {.power = {out.data(), 4, 2}}));
    CHECK_THROWS(std::invalid_argument, "depth", search.run(asked.trials(), {.depth = {out.data(), 2, 4, 3}}));
    std::vector<double> twice = stars.time;
    twice[3] = twice[2];
    CHECK_THROWS(std::invalid_argument, "time[3]", BoxSearch({twice.data(), 20}, stars.flux_view()));
    CHECK_THROWS(std::invalid_argument, "time: has 19", BoxSearch({twice.data(), 19}, stars.flux_view()));
    std::vector<float> errors(80, 1.0f);
    errors[5] = 0.0f;
    CHECK_THROWS(std::invalid_argument, "error[1]", BoxSearch(time, stars.flux_view(), {errors.data(), 20, 4}));
    CHECK_THROWS(std::invalid_argument, "error: 2 x 4", BoxSearch(time, stars.flux_view(), {errors.data(), 2, 4}));
}
