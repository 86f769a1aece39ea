#include "starskope/fft.hpp"

#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "check.hpp"

using namespace starskope;

namespace {

using Complex = std::complex<double>;
constexpr double pi = 3.14159265358979323846;

std::vector<float> noise(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(size);
    for (float& value : values) {
        value = normal(random);
    }
    return values;
}

using Transforms = std::vector<std::complex<float>>;

// Memory that ends where the last row does: the sanitizers see every step beyond.
Transforms transform(const std::vector<float>& x, std::size_t n_time, std::size_t n_series, std::size_t n_fft) {
    const std::size_t n_freq = n_fft / 2 + 1;
    Transforms out(n_freq * n_series, -7.0f);
    rfft({x.data(), n_time, n_series}, n_fft, {out.data(), n_freq, n_series});
    return out;
}

// Relative L2 error of one series, against the sum that defines each element.
double error(const std::vector<float>& x, std::size_t n_time, std::size_t n_series, std::size_t n_fft,
             std::size_t series, const Transforms& found) {
    std::vector<Complex> roots(n_fft);
    for (std::size_t j = 0; j < n_fft; ++j) {
        roots[j] = std::polar(1.0, -2.0 * pi * double(j) / double(n_fft));
    }
    double wrong = 0.0, whole = 0.0;
    for (std::size_t k = 0; k <= n_fft / 2; ++k) {
        Complex sum = 0.0;
        for (std::size_t j = 0; j < n_time; ++j) {
            sum += double(x[j * n_series + series]) * roots[j * k % n_fft];
        }
        const std::size_t at = k * n_series + series;
        wrong += std::norm(sum - Complex(found[at]));
        whole += std::norm(sum);
    }
    return std::sqrt(wrong / whole);
}

double tolerance(std::size_t n) {
    return 3.0 * 0x1p-24 * std::sqrt(std::log2(double(n < 2 ? 2 : n)));
}

} // namespace

TEST(transforms_of_any_length_are_their_sums) {
    test::for_each_isa([](const std::string&) {
        std::vector<std::size_t> lengths;
        for (std::size_t n = 1; n <= 140; ++n) {
            lengths.push_back(n);
        }
        // Large primes alone, twice, beside small ones, and with neighbours that are not smooth; two parts; padding.
        lengths.insert(lengths.end(), {167, 331, 389, 641, 719, 734, 1000, 1024, 1282, 4489});
        for (const std::size_t n : lengths) {
            const std::size_t n_series = n % 3 == 0 ? 65 : 3;
            const auto x = noise(n * n_series, unsigned(n));
            const Transforms found = transform(x, n, n_series, n);
            CHECK(error(x, n, n_series, n, 0, found) < tolerance(n));
            CHECK(error(x, n, n_series, n, n_series - 1, found) < tolerance(n));
        }
    });
}

TEST(padded_transforms_are_their_sums) {
    test::for_each_isa([](const std::string&) {
        for (const auto& [n_time, n_fft] : {std::pair<std::size_t, std::size_t>{1, 9},
                                            {20, 21},
                                            {20, 100},
                                            {64, 128},
                                            {97, 388},
                                            {67, 335},
                                            {134, 402}}) {
            const auto x = noise(n_time * 40, unsigned(n_fft));
            const Transforms found = transform(x, n_time, 40, n_fft);
            CHECK(error(x, n_time, 40, n_fft, 0, found) < tolerance(n_fft));
            CHECK(error(x, n_time, 40, n_fft, 39, found) < tolerance(n_fft));
        }
    });
}

TEST(series_do_not_feel_their_neighbours) {
    test::for_each_isa([](const std::string&) {
        const std::size_t n = 120, n_series = 70;
        auto x = noise(n * n_series, 5);
        for (std::size_t j = 0; j < n; ++j) {
            x[j * n_series + 1] *= 1e15f;
            x[j * n_series + 20] *= 1e-20f;
        }
        x[17 * n_series + 2] = std::numeric_limits<float>::quiet_NaN();
        x[18 * n_series + 69] = std::numeric_limits<float>::infinity();
        const Transforms found = transform(x, n, n_series, n);
        for (std::size_t series = 0; series < n_series; ++series) {
            if (series == 2 || series == 69) {
                CHECK(std::isnan(found[series].real()) && std::isnan(found[n / 2 * n_series + series].imag()));
            } else {
                CHECK(error(x, n, n_series, n, series, found) < tolerance(n));
            }
        }
    });
}

TEST(rows_further_apart_are_left_alone) {
    test::for_each_isa([](const std::string&) {
        const std::size_t n = 60, n_series = 67, stride = 80, n_freq = n / 2 + 1;
        const auto x = noise(n * stride, 9);
        std::vector<float> packed(n * n_series);
        Transforms out(n_freq * stride, -7.0f);
        for (std::size_t j = 0; j < n; ++j) {
            std::memcpy(&packed[j * n_series], &x[j * stride + 2], n_series * sizeof(float));
        }
        const Transforms expected = transform(packed, n, n_series, n);
        rfft({x.data() + 2, n, n_series, stride}, n, {out.data() + 5, n_freq, n_series, stride});
        for (std::size_t k = 0; k < n_freq; ++k) {
            CHECK(std::memcmp(&out[k * stride + 5], &expected[k * n_series], n_series * sizeof expected[0]) == 0);
            CHECK(out[k * stride + 4] == -7.0f && out[k * stride + 5 + n_series] == -7.0f);
        }
    });
}

TEST(threads_share_plans) {
    std::vector<Transforms> found(8);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < found.size(); ++i) {
        threads.emplace_back([&found, i] {
            for (std::size_t n = 500; n < 560; ++n) { // more plans than are kept
                const Transforms some = transform(noise(n, unsigned(n)), n, 1, n);
                found[i].insert(found[i].end(), some.begin(), some.end());
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const auto& each : found) {
        CHECK(each == found[0]);
    }
}

namespace {

// Relative L2 error of all series, against the sums of `sign` that define each element.
template <class T>
double complex_error(const std::vector<std::complex<T>>& x, std::size_t n_series, double sign,
                     const std::vector<std::complex<T>>& found) {
    const std::size_t n = x.size() / n_series;
    double wrong = 0.0, whole = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
        for (std::size_t series = 0; series < n_series; ++series) {
            Complex sum = 0.0;
            for (std::size_t j = 0; j < n; ++j) {
                sum += Complex(x[j * n_series + series]) *
                       std::polar(1.0, sign * 2.0 * pi * double(j * k % n) / double(n));
            }
            wrong += std::norm(sum - Complex(found[k * n_series + series]));
            whole += std::norm(sum);
        }
    }
    return std::sqrt(wrong / whole);
}

template <class T>
void both_ways() {
    const double unit = sizeof(T) == 4 ? 1.0 : 0x1p-29;
    for (const std::size_t n : {1, 2, 3, 16, 29, 60, 97, 131, 163, 256}) {
        const std::size_t n_series = n % 2 ? 5 : 17, n_freq = n / 2 + 1;
        const auto parts = noise(2 * n * n_series, unsigned(n));
        std::vector<std::complex<T>> x(n * n_series), found(n * n_series), back(n * n_series);
        std::vector<T> real(n * n_series), again(n * n_series);
        for (std::size_t i = 0; i < x.size(); ++i) {
            x[i] = {T(parts[2 * i]), T(parts[2 * i + 1])};
            real[i] = T(parts[i]);
        }
        const View2<const std::complex<T>> data{x.data(), n, n_series};
        fft(data, n, {found.data(), n, n_series});
        // The oracle's own phases err by some units of float64.
        CHECK(complex_error(x, n_series, -1.0, found) < unit * tolerance(n) + 1e-15);
        fft(data, n, {back.data(), n, n_series}, Direction::backward);
        CHECK(complex_error(x, n_series, 1.0, back) < unit * tolerance(n) + 1e-15);
        std::vector<std::complex<T>> half(n_freq * n_series);
        rfft({real.data(), n, n_series}, n, {half.data(), n_freq, n_series});
        irfft({half.data(), n_freq, n_series}, n, {again.data(), n, n_series}, 1.0 / double(n));
        double wrong = 0.0, whole = 0.0;
        for (std::size_t i = 0; i < real.size(); ++i) {
            wrong += std::pow(double(again[i]) - double(real[i]), 2);
            whole += std::pow(double(real[i]), 2);
        }
        CHECK(std::sqrt(wrong / whole) < 2.0 * unit * tolerance(n));
    }
}

} // namespace

TEST(transforms_go_both_ways_in_both_types) {
    test::for_each_isa([](const std::string&) {
        both_ways<float>();
        both_ways<double>();
    });
}

TEST(transforms_refuse_what_does_not_fit) {
    const auto x = noise(30, 1);
    std::vector<std::complex<float>> out(100);
    std::vector<float> real(100);
    const View2<const float> data{x.data(), 10, 3};
    CHECK_THROWS(std::invalid_argument, "n_fft=9: cannot hold the 10 times", rfft(data, 9, {out.data(), 5, 3}));
    CHECK_THROWS(std::invalid_argument, "n_fft=0", rfft({x.data(), 0, 3}, 0, {out.data(), 1, 3}));
    CHECK_THROWS(std::invalid_argument, "expected 1 to", rfft(data, max_fft_length + 1, {out.data(), 5, 3}));
    CHECK_THROWS(std::invalid_argument, "out: has shape 5 x 3, expected 6 x 3", rfft(data, 10, {out.data(), 5, 3}));
    CHECK_THROWS(std::invalid_argument, "out: has shape 6 x 2", rfft(data, 10, {out.data(), 6, 2}));
    CHECK_THROWS(std::invalid_argument, "out: rows of 3 elements cannot lie 2 apart",
                 rfft(data, 10, {out.data(), 6, 3, 2}));
    CHECK_THROWS(std::invalid_argument, "data: null pointer", rfft({nullptr, 10, 3}, 10, {out.data(), 6, 3}));
    CHECK_THROWS(std::invalid_argument, "factor=nan", rfft(data, 10, {out.data(), 6, 3}, std::nan("")));
    const View2<const std::complex<float>> half{out.data(), 6, 3};
    CHECK_THROWS(std::invalid_argument, "n_fft=9: cannot hold the 6 frequencies", irfft(half, 9, {real.data(), 9, 3}));
    CHECK_THROWS(std::invalid_argument, "out: has shape 6 x 3, expected 10 x 3", irfft(half, 10, {real.data(), 6, 3}));
    CHECK_THROWS(std::invalid_argument, "n_fft=5: cannot hold the 6 times", fft(half, 5, {out.data() + 50, 5, 3}));
    CHECK_THROWS(std::invalid_argument, "out: null pointer", fft(half, 6, {nullptr, 6, 3}));
    rfft({x.data(), 10, 0}, 10, {out.data(), 6, 0});
}
