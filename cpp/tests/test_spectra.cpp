#include "starskope/spectra.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"

using namespace starskope;

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr float missing = std::numeric_limits<float>::quiet_NaN();

// (n_time, n_series): a sine in noise, about 1; `gone` of the points are missing.
std::vector<float> sines(std::size_t n_time, std::size_t n_series, double gone) {
    std::mt19937 random(unsigned(n_time * 100 + n_series));
    std::normal_distribution<double> normal(0.0, 0.01);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    std::vector<float> x(n_time * n_series);
    for (std::size_t j = 0; j < n_time; ++j) {
        for (std::size_t i = 0; i < n_series; ++i) {
            const double value = 1.0 + normal(random) + 0.02 * std::sin(double(j) * (0.1 + 0.04 * double(i)));
            x[j * n_series + i] = uniform(random) < gone ? missing : float(value);
        }
    }
    return x;
}

// Power of a sine by the definition, of one series.
std::vector<double> powers(const float* x, std::size_t n_time, std::size_t stride, const std::vector<float>& window,
                           std::size_t n_fft) {
    double sum = 0.0, count = 0.0, gain = 0.0;
    for (std::size_t j = 0; j < n_time; ++j) {
        if (std::isfinite(x[j * stride])) {
            sum += double(x[j * stride]);
            count += 1.0;
            gain += double(window[j]);
        }
    }
    std::vector<double> result;
    for (std::size_t k = 0; k <= n_fft / 2; ++k) {
        double re = 0.0, im = 0.0;
        for (std::size_t j = 0; j < n_time; ++j) {
            if (std::isfinite(x[j * stride])) {
                const double angle = 2.0 * pi * double(j * k % n_fft) / double(n_fft);
                const double value = (double(x[j * stride]) - sum / count) * double(window[j]);
                re += value * std::cos(angle);
                im -= value * std::sin(angle);
            }
        }
        const double s = k == 0 || 2 * k == n_fft ? 1.0 : 4.0;
        result.push_back(count > 0.0 && gain != 0.0 ? s * (re * re + im * im) / (gain * gain) : double(missing));
    }
    return result;
}

// Part of the weighted variance that a sine with a free mean takes away, by normal equations about the means.
double fitted(const float* x, const float* w, std::size_t n_time, std::size_t stride, double turns) {
    double total = 0.0, y0 = 0.0, c0 = 0.0, s0 = 0.0;
    const auto weight = [&](std::size_t j) {
        return std::isfinite(x[j * stride]) ? (w == nullptr ? 1.0 : double(w[j * stride])) : 0.0;
    };
    const auto angle = [&](std::size_t j) { return 2.0 * pi * turns * double(j); };
    for (std::size_t j = 0; j < n_time; ++j) {
        if (weight(j) > 0.0) {
            total += weight(j);
            y0 += weight(j) * double(x[j * stride]);
            c0 += weight(j) * std::cos(angle(j));
            s0 += weight(j) * std::sin(angle(j));
        }
    }
    double cc = 0.0, ss = 0.0, cs = 0.0, yc = 0.0, ys = 0.0, yy = 0.0;
    for (std::size_t j = 0; j < n_time; ++j) {
        if (weight(j) > 0.0) {
            const double c = std::cos(angle(j)) - c0 / total, s = std::sin(angle(j)) - s0 / total;
            const double y = double(x[j * stride]) - y0 / total;
            cc += weight(j) * c * c;
            ss += weight(j) * s * s;
            cs += weight(j) * c * s;
            yc += weight(j) * y * c;
            ys += weight(j) * y * s;
            yy += weight(j) * y * y;
        }
    }
    return (ss * yc * yc + cc * ys * ys - 2.0 * cs * yc * ys) / (cc * ss - cs * cs) / yy;
}

} // namespace

TEST(powers_are_their_sums) {
    test::for_each_isa([](const std::string&) {
        for (const auto& [n_time, n_fft] :
             {std::pair<std::size_t, std::size_t>{2, 2}, {17, 17}, {60, 120}, {61, 183}, {134, 134}, {100, 111}}) {
            for (const std::size_t n_series : {1, 40, 66}) {
                auto x = sines(n_time, n_series, 0.1);
                x[(n_time - 1) * n_series] = std::numeric_limits<float>::infinity();
                std::vector<float> window(n_time), out((n_fft / 2 + 1) * n_series, -7.0f);
                for (std::size_t j = 0; j < n_time; ++j) {
                    window[j] = float(0.6 - 0.5 * std::cos(2.0 * pi * double(j) / double(n_time)));
                }
                power_spectrum({x.data(), n_time, n_series}, {window.data(), n_time}, n_fft,
                               {out.data(), n_fft / 2 + 1, n_series});
                for (std::size_t i = 0; i < n_series; i += 13) {
                    const auto expected = powers(x.data() + i, n_time, n_series, window, n_fft);
                    double whole = 0.0;
                    for (const double power : expected) {
                        whole += std::isnan(power) ? 0.0 : power;
                    }
                    for (std::size_t k = 0; k < expected.size(); ++k) {
                        CHECK_CLOSE(double(out[k * n_series + i]), expected[k], 1e-6 * whole);
                    }
                }
            }
        }
    });
}

TEST(segments_are_spectra_of_their_rows) {
    test::for_each_isa([](const std::string&) {
        const std::size_t n_time = 230, n_series = 70, segment = 66, step = 20, n_freq = segment / 2 + 1;
        const std::size_t n_segment = 1 + (n_time - segment) / step;
        const auto x = sines(n_time, n_series, 0.02);
        std::vector<float> out(n_segment * n_freq * n_series, -7.0f), one(n_freq * n_series);
        spectrogram({x.data(), n_time, n_series}, {}, segment, step, {out.data(), n_segment * n_freq, n_series});
        for (std::size_t i = 0; i < n_segment; ++i) {
            power_spectrum({x.data() + i * step * n_series, segment, n_series}, {}, segment,
                           {one.data(), n_freq, n_series});
            CHECK(std::memcmp(one.data(), out.data() + i * one.size(), one.size() * sizeof(float)) == 0);
        }
    });
}

TEST(periodograms_are_fits_of_sines) {
    test::for_each_isa([](const std::string&) {
        const std::size_t n_time = 90;
        for (const std::size_t n_series : {3, 70}) {
            for (const double gone : {0.0, 0.05}) {
                for (const int weighting : {0, 1, 2}) {
                    for (const std::size_t n_fft : {90, 97, 450}) {
                        const auto x = sines(n_time, n_series, gone);
                        std::vector<float> w(n_time * n_series), shared(n_time);
                        for (std::size_t j = 0; j < n_time; ++j) {
                            shared[j] = 0.5f + float(j % 7);
                            for (std::size_t i = 0; i < n_series; ++i) {
                                w[j * n_series + i] = weighting == 1 ? shared[j] : 0.5f + float((i + 3 * j) % 11);
                            }
                        }
                        PointWeights weights;
                        if (weighting == 1) {
                            weights.shared = {shared.data(), n_time};
                        } else if (weighting == 2) {
                            weights.each_series = {w.data(), n_time, n_series};
                        }
                        const std::size_t n_freq = (n_fft - 1) / 2; // without Nyquist, where there is no sine
                        std::vector<float> out(n_freq * n_series, -7.0f);
                        lomb_scargle({x.data(), n_time, n_series}, weights, n_fft, {out.data(), n_freq, n_series});
                        for (std::size_t i = 0; i < n_series; i += 23) {
                            for (std::size_t k = 1; k <= n_freq; k += 5) {
                                const double expected = fitted(x.data() + i, weighting == 0 ? nullptr : w.data() + i,
                                                               n_time, n_series, double(k) / double(n_fft));
                                CHECK_CLOSE(double(out[(k - 1) * n_series + i]), expected, 5e-6);
                            }
                        }
                    }
                }
            }
        }
    });
}

TEST(series_without_an_answer_have_none) {
    test::for_each_isa([](const std::string&) {
        const std::size_t n_time = 50, n_series = 68;
        auto x = sines(n_time, n_series, 0.0);
        for (std::size_t j = 0; j < n_time; ++j) {
            x[j * n_series] = missing;
            x[j * n_series + 1] = 3.5f;
            x[j * n_series + 67] = j % 20 == 0 ? x[j * n_series + 67] : missing; // three points
        }
        std::vector<float> out(125 * n_series), power(26 * n_series);
        lomb_scargle({x.data(), n_time, n_series}, {}, 250, {out.data(), 125, n_series});
        power_spectrum({x.data(), n_time, n_series}, {}, n_time, {power.data(), 26, n_series});
        for (std::size_t k = 0; k < 125; ++k) {
            for (const std::size_t i : {0, 1, 67}) {
                CHECK(std::isnan(out[k * n_series + i]));
            }
            CHECK(std::isfinite(out[k * n_series + 2]));
        }
        for (std::size_t k = 0; k < 26; ++k) {
            CHECK(std::isnan(power[k * n_series]));
            CHECK(power[k * n_series + 1] == 0.0f);
        }
    });
}

TEST(spectra_refuse_what_does_not_fit) {
    const auto x = sines(10, 3, 0.0);
    const View2<const float> data{x.data(), 10, 3};
    std::vector<float> out(200), window(10, 1.0f), weights(30, 1.0f);
    CHECK_THROWS(std::invalid_argument, "window: has 9 elements, expected 10",
                 power_spectrum(data, {window.data(), 9}, 10, {out.data(), 6, 3}));
    CHECK_THROWS(std::invalid_argument, "out: has shape 5 x 3, expected 6 x 3",
                 power_spectrum(data, {}, 10, {out.data(), 5, 3}));
    window[4] = std::numeric_limits<float>::infinity();
    CHECK_THROWS(std::invalid_argument, "window[4]=inf",
                 power_spectrum(data, {window.data(), 10}, 10, {out.data(), 6, 3}));
    CHECK_THROWS(std::invalid_argument, "step=0", spectrogram(data, {}, 4, 0, {out.data(), 12, 3}));
    CHECK_THROWS(std::invalid_argument, "segment=0", spectrogram(data, {}, 0, 1, {out.data(), 12, 3}));
    CHECK_THROWS(std::invalid_argument, "segment=11: the data have 10",
                 spectrogram(data, {}, 11, 1, {out.data(), 6, 3}));
    CHECK_THROWS(std::invalid_argument, "out: has shape 11 x 3, expected 12 x 3",
                 spectrogram(data, {}, 4, 2, {out.data(), 11, 3}));
    CHECK_THROWS(std::invalid_argument, "out: has 26 rows, expected at most n_fft / 2 = 25",
                 lomb_scargle(data, {}, 50, {out.data(), 26, 3}));
    CHECK_THROWS(std::invalid_argument, "weights: has 9 elements",
                 lomb_scargle(data, {{weights.data(), 9}, {}}, 50, {out.data(), 25, 3}));
    CHECK_THROWS(std::invalid_argument, "weights: expected one per time",
                 lomb_scargle(data, {{}, {weights.data(), 10, 2}}, 50, {out.data(), 25, 3}));
    CHECK_THROWS(std::invalid_argument, "n_fft=9: cannot hold", lomb_scargle(data, {}, 9, {out.data(), 4, 3}));
}
