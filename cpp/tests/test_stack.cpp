#include "starskope/stack.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "stack_oracle.hpp"

using namespace starskope;
using namespace starskope::test;

namespace {

void check_against_oracle(const std::vector<float>& data, std::size_t n_time, std::size_t n_series, const Clip& clip) {
    Result result(n_series);
    series_statistics({data.data(), n_time, n_series}, clip, result.views());
    for (std::size_t series = 0; series < n_series; ++series) {
        std::vector<double> values;
        for (std::size_t i = 0; i < n_time; ++i) {
            values.push_back(data[i * n_series + series]);
        }
        const Expected expected = oracle(values, clip);
        const double scale = std::isfinite(expected.mean) ? 1e-7 * (std::fabs(expected.mean) + expected.std) : 0.0;
        CHECK(result.count[series] == expected.count);
        CHECK_CLOSE(result.mean[series], expected.mean, scale);
        CHECK_CLOSE(result.median[series], expected.median, scale);
        CHECK_CLOSE(result.std[series], expected.std, 1e-7 * expected.std);
    }
}

} // namespace

TEST(every_length_agrees_with_the_slow_way) {
    test::for_each_isa([](const std::string&) {
        std::vector<std::size_t> lengths;
        for (std::size_t n = 0; n <= 70; ++n) {
            lengths.push_back(n);
        }
        lengths.insert(lengths.end(), {95, 127, 128, 129, 143, 255, 257, 300, 511, 513, 1282, 2049, 4200});
        for (const std::size_t n_time : lengths) {
            const std::size_t n_series = n_time < 100 ? 37 : 19;
            const auto data = noise(n_time, n_series, std::uint32_t(n_time));
            check_against_oracle(data, n_time, n_series, {});
        }
    });
}

TEST(every_setting_agrees_with_the_slow_way) {
    test::for_each_isa([](const std::string&) {
        const std::size_t n_time = 61, n_series = 150;
        const auto data = noise(n_time, n_series, 5);
        for (const Center center : {Center::mean, Center::median}) {
            for (const int max_iters : {0, 1, 2, 3, 10, until_stable}) {
                for (const double low : {0.4, 1.5, 3.0, double(infinite)}) {
                    for (const double high : {0.4, 2.0, double(infinite)}) {
                        check_against_oracle(data, n_time, n_series, {low, high, max_iters, center});
                    }
                }
            }
        }
    });
}

TEST(values_dropped_early_count_again_when_the_last_bounds_hold_them) {
    // Some values lie far below: they hold the mean down, and the first upper bound cuts into the others. Without them
    // the bound can rise. One trial in eighty or so does it.
    test::for_each_isa([](const std::string&) {
        std::mt19937 random(11);
        std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
        int n_again = 0;
        for (int trial = 0; trial < 500; ++trial) {
            const int n_far = 4 + int(random() % 10), n_near = int(random() % 8);
            const float far = 2.0f + 18.0f * uniform(random), near = 0.1f + 1.9f * uniform(random),
                        width = uniform(random);
            std::vector<float> data;
            for (int i = 0; i < 40; ++i) {
                const float u = uniform(random);
                data.push_back(i < n_far ? -far - u : i < n_far + n_near ? -near + 0.1f * u : width * u);
            }
            Clip clip{0.8 + 1.2 * double(uniform(random)), 0.3 + 0.9 * double(uniform(random)), 1, Center::mean};
            int before = 40;
            for (; clip.max_iters < 4; ++clip.max_iters) {
                check_against_oracle(data, data.size(), 1, clip);
                Result result(1);
                series_statistics({data.data(), data.size(), 1}, clip, result.views());
                n_again += result.count[0] > before;
                before = result.count[0];
            }
        }
        CHECK(n_again > 0);
    });
}

TEST(outliers_of_any_height_cost_no_digits) {
    test::for_each_isa([](const std::string&) {
        std::mt19937 random(3);
        std::normal_distribution<float> normal(1.0f, 1e-3f);
        const std::size_t n_time = 200, n_series = 40;
        std::vector<float> data(n_time * n_series);
        for (float& x : data) {
            x = normal(random);
        }
        for (std::size_t series = 0; series < n_series; ++series) {
            data[(series % 7) * n_series + series] = std::pow(10.0f, float(series % 30)); // the first value among them
        }
        check_against_oracle(data, n_time, n_series, {});
        check_against_oracle(data, n_time, n_series, {3.0, 3.0, 0, Center::mean});
        Result unsorted(n_series);
        series_statistics({data.data(), n_time, n_series}, {3.0, 3.0, 0, Center::mean}, unsorted.views(false));
        for (std::size_t series = 0; series < n_series; ++series) {
            std::vector<double> values;
            for (std::size_t i = 0; i < n_time; ++i) {
                values.push_back(data[i * n_series + series]);
            }
            const Expected expected = oracle(values, {3.0, 3.0, 0, Center::mean});
            CHECK_CLOSE(unsorted.mean[series], expected.mean, 1e-7 * std::fabs(expected.mean));
            CHECK_CLOSE(unsorted.std[series], expected.std, 1e-7 * expected.std);
            CHECK(unsorted.count[series] == expected.count);
        }
    });
}

TEST(means_without_sorting_agree_with_the_slow_way) {
    test::for_each_isa([](const std::string&) {
        for (const std::size_t n_series : {1, 15, 16, 31, 32, 33, 64, 100}) {
            for (const std::size_t n_time : {0, 1, 2, 17, 200}) {
                auto data = noise(n_time, n_series, 9);
                for (std::size_t i = 0; i < data.size(); i += n_series) {
                    data[i + n_series / 2] = missing; // one series without any value
                }
                Result result(n_series);
                series_statistics({data.data(), n_time, n_series}, {3.0, 3.0, 0, Center::mean}, result.views(false));
                for (std::size_t series = 0; series < n_series; ++series) {
                    std::vector<double> values;
                    for (std::size_t i = 0; i < n_time; ++i) {
                        values.push_back(data[i * n_series + series]);
                    }
                    const Expected expected = oracle(values, {3.0, 3.0, 0, Center::mean});
                    CHECK(result.count[series] == expected.count);
                    CHECK_CLOSE(result.mean[series], expected.mean, 1e-7 * 500.0);
                    CHECK_CLOSE(result.std[series], expected.std, 1e-7 * (1e-3 + expected.std));
                }
            }
        }
    });
}

TEST(equal_values_have_no_spread) {
    test::for_each_isa([](const std::string&) {
        const std::vector<float> data(50 * 20, 0.1f);
        for (const Center center : {Center::mean, Center::median}) {
            Result result(20);
            series_statistics({data.data(), 50, 20}, {3.0, 3.0, until_stable, center}, result.views());
            for (std::size_t i = 0; i < 20; ++i) {
                CHECK(result.count[i] == 50 && result.std[i] == 0.0f && result.mean[i] == 0.1f);
            }
        }
    });
}

TEST(all_instruction_sets_and_any_split_give_the_same_bytes) {
    const std::size_t n_time = 130, n_series = 333;
    const auto data = noise(n_time, n_series, 21);
    for (const int max_iters : {0, 5}) {
        for (const bool with_median : {false, true}) {
            Result first(n_series);
            bool is_first = true;
            test::for_each_isa([&](const std::string&) {
                for (const std::size_t step : {n_series, std::size_t{50}, std::size_t{7}}) {
                    Result result(n_series);
                    for (std::size_t at = 0; at < n_series; at += step) {
                        const std::size_t n = std::min(step, n_series - at);
                        SeriesStatistics out{.mean = {result.mean.data() + at, n},
                                             .median = {},
                                             .std = {result.std.data() + at, n},
                                             .count = {result.count.data() + at, n}};
                        if (with_median) {
                            out.median = {result.median.data() + at, n};
                        }
                        series_statistics({data.data() + at, n_time, n, n_series}, {3.0, 3.0, max_iters}, out);
                    }
                    if (is_first) {
                        first = result;
                        is_first = false;
                    }
                    CHECK(result.mean == first.mean && result.std == first.std && result.count == first.count &&
                          result.median == first.median);
                }
            });
        }
    }
}

TEST(wrong_shapes_and_settings_are_refused) {
    std::vector<float> data(30), out(10);
    std::vector<std::int32_t> count(10);
    const View2<const float> block{data.data(), 3, 10};
    SeriesStatistics good{.mean = {out.data(), 10}, .median = {}, .std = {}, .count = {count.data(), 10}};
    series_statistics(block, {}, good);
    CHECK_THROWS(std::invalid_argument, "sigma_low", series_statistics(block, {0.0, 3.0}, good));
    CHECK_THROWS(std::invalid_argument, "sigma_high", series_statistics(block, {3.0, double(missing)}, good));
    CHECK_THROWS(std::invalid_argument, "max_iters=-2", series_statistics(block, {3.0, 3.0, -2}, good));
    CHECK_THROWS(std::invalid_argument, "apart", series_statistics({data.data(), 3, 10, 9}, {}, good));
    CHECK_THROWS(std::invalid_argument, "null", series_statistics(View2<const float>{nullptr, 3, 10}, {}, good));
    SeriesStatistics bad = good;
    bad.mean.size = 9;
    CHECK_THROWS(std::invalid_argument, "mean", series_statistics(block, {}, bad));
    bad = good;
    bad.count.size = 11;
    CHECK_THROWS(std::invalid_argument, "count", series_statistics(block, {}, bad));
    series_statistics({data.data(), 3, 0}, {}, {});
}
