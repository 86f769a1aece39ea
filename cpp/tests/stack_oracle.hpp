// The slow way to clip, and frames to try it on.
#pragma once

#include "starskope/stack.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace starskope::test {

inline constexpr float missing = std::numeric_limits<float>::quiet_NaN();
inline constexpr float infinite = std::numeric_limits<float>::infinity();

struct Result {
    std::vector<float> mean, median, std;
    std::vector<std::int32_t> count;

    explicit Result(std::size_t n) : mean(n, -7.0f), median(n, -7.0f), std(n, -7.0f), count(n, -7) {}

    SeriesStatistics views(bool with_median = true) {
        return {.mean = {mean.data(), mean.size()},
                .median = with_median ? View1<float>{median.data(), median.size()} : View1<float>{},
                .std = {std.data(), std.size()},
                .count = {count.data(), count.size()}};
    }
};

struct Expected {
    double mean, median, std;
    int count;
};

// The slow way: every iteration goes over all values that are left; the last bounds decide about all values.
inline Expected oracle(std::vector<double> all, const Clip& clip) {
    std::erase_if(all, [](double x) { return !std::isfinite(x); });
    std::sort(all.begin(), all.end());
    std::vector<double> left = all;
    const auto statistics = [](const std::vector<double>& x) -> Expected {
        const std::size_t n = x.size();
        if (n == 0) {
            return {std::nan(""), std::nan(""), std::nan(""), 0};
        }
        long double sum = 0, squares = 0;
        for (double v : x) {
            sum += v;
        }
        const long double mean = sum / static_cast<long double>(n);
        for (double v : x) {
            squares += (v - mean) * (v - mean);
        }
        return {double(mean), 0.5 * (x[(n - 1) / 2] + x[n / 2]),
                double(std::sqrt(squares / static_cast<long double>(n))), int(n)};
    };
    for (int iteration = 0; iteration != clip.max_iters && !left.empty(); ++iteration) {
        const Expected now = statistics(left);
        const double center = clip.center == Center::mean ? now.mean : now.median;
        const double low = center - clip.sigma_low * now.std, high = center + clip.sigma_high * now.std;
        const auto outside = [&](double x) { return x < low || x > high; };
        const std::size_t before = left.size();
        std::erase_if(left, outside);
        if (left.size() == before || left.empty() || iteration + 1 == clip.max_iters) {
            std::erase_if(all, outside);
            return statistics(all);
        }
    }
    return statistics(left);
}

inline std::vector<float> noise(std::size_t n_time, std::size_t n_series, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(150.0f, 3.0f);
    std::vector<float> data(n_time * n_series);
    for (float& x : data) {
        x = normal(random);
        const auto dice = random() % 100;
        x = dice < 3 ? x + 300.0f : dice < 5 ? x - 80.0f : dice == 5 ? missing : dice == 6 ? infinite : x;
    }
    return data;
}

} // namespace starskope::test
