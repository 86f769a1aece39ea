#include "starskope/spectra.hpp"

#include <cmath>
#include <complex>
#include <limits>
#include <vector>

namespace starskope {
namespace {

using Complex = std::complex<double>;
constexpr double pi = 3.14159265358979323846;
constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

// Mixed radix by recursion; x[0], x[stride], ... -> n values. Plain and slow for large primes.
std::vector<Complex> transform(const Complex* x, std::size_t n, std::size_t stride) {
    if (n == 1) {
        return {x[0]};
    }
    std::size_t p = 2;
    while (n % p != 0) {
        p = p * p > n ? n : p + 1;
    }
    const std::size_t m = n / p;
    std::vector<Complex> root(n), out(n);
    for (std::size_t k = 0; k < n; ++k) {
        root[k] = std::polar(1.0, -2.0 * pi * double(k) / double(n));
    }
    for (std::size_t r = 0; r < p; ++r) {
        const auto part = transform(x + r * stride, m, stride * p);
        for (std::size_t k = 0; k < n; ++k) {
            out[k] += root[r * k % n] * part[k % m];
        }
    }
    return out;
}

} // namespace

void rfft(View2<const float> data, std::size_t n_fft, View2<float> real, View2<float> imaginary) {
    std::vector<Complex> x(n_fft);
    for (std::size_t i = 0; i < data.n_col; ++i) {
        for (std::size_t j = 0; j < data.n_row; ++j) {
            x[j] = data.data[j * data.stride + i];
        }
        const auto z = transform(x.data(), n_fft, 1);
        for (std::size_t k = 0; k <= n_fft / 2; ++k) {
            real.data[k * real.stride + i] = float(z[k].real());
            imaginary.data[k * imaginary.stride + i] = float(z[k].imag());
        }
    }
}

void power_spectrum(View2<const float> data, View1<const float> window, std::size_t n_fft, View2<float> out) {
    for (std::size_t i = 0; i < data.n_col; ++i) {
        std::vector<Complex> x(n_fft);
        double sum = 0.0, count = 0.0, gain = 0.0;
        for (std::size_t j = 0; j < data.n_row; ++j) {
            const double value = data.data[j * data.stride + i];
            if (std::isfinite(value)) {
                sum += value;
                count += 1.0;
            }
        }
        for (std::size_t j = 0; j < data.n_row; ++j) {
            const double value = data.data[j * data.stride + i], w = window ? double(window.data[j]) : 1.0;
            if (std::isfinite(value)) {
                x[j] = (value - sum / count) * w;
                gain += w;
            }
        }
        const auto z = transform(x.data(), n_fft, 1);
        for (std::size_t k = 0; k <= n_fft / 2; ++k) {
            const double s = k == 0 || 2 * k == n_fft ? 1.0 : 4.0;
            out.data[k * out.stride + i] = float(gain != 0.0 ? s * std::norm(z[k]) / (gain * gain) : nothing);
        }
    }
}

void spectrogram(View2<const float> data, View1<const float> window, std::size_t segment, std::size_t step,
                 View2<float> out) {
    for (std::size_t first = 0, row = 0; first + segment <= data.n_row; first += step, row += segment / 2 + 1) {
        power_spectrum({data.data + first * data.stride, segment, data.n_col, data.stride}, window, segment,
                       {out.data + row * out.stride, segment / 2 + 1, out.n_col, out.stride});
    }
}

void lomb_scargle(View2<const float> data, const PointWeights& weights, std::size_t n_fft, View2<float> out) {
    for (std::size_t i = 0; i < data.n_col; ++i) {
        std::vector<Complex> w(n_fft), y(n_fft);
        double total = 0.0, mean = 0.0, variance = 0.0;
        int count = 0;
        for (std::size_t j = 0; j < data.n_row; ++j) {
            const double given = weights.shared ? weights.shared.data[j]
                                 : weights.each_series.data
                                     ? weights.each_series.data[j * weights.each_series.stride + i]
                                     : 1.0;
            const double value = data.data[j * data.stride + i];
            if (std::isfinite(value) && std::isfinite(given) && given > 0.0) {
                w[j] = given;
                total += given;
                mean += given * value;
                ++count;
            }
        }
        mean /= total;
        for (std::size_t j = 0; j < data.n_row; ++j) {
            w[j] /= total;
            if (w[j] != 0.0) {
                const double d = data.data[j * data.stride + i] - mean;
                y[j] = w[j] * d;
                variance += w[j].real() * d * d;
            }
        }
        const auto W = transform(w.data(), n_fft, 1), Y = transform(y.data(), n_fft, 1);
        for (std::size_t row = 0; row < out.n_row; ++row) {
            const std::size_t k = row + 1;
            const double c = W[k].real(), s = -W[k].imag(), c2 = W[2 * k % n_fft].real(), s2 = -W[2 * k % n_fft].imag();
            const double yc = Y[k].real(), ys = -Y[k].imag();
            const double cc = 0.5 * (1.0 + c2) - c * c, ss = 0.5 * (1.0 - c2) - s * s, cs = 0.5 * s2 - c * s;
            const double d = cc * ss - cs * cs;
            double power = (ss * yc * yc + cc * ys * ys - 2.0 * cs * yc * ys) / (d * variance);
            if (!(d > 1e-12 * (cc + ss) * (cc + ss))) {
                power = (yc * yc + ys * ys) / ((cc + ss) * variance);
            }
            out.data[row * out.stride + i] = float(count >= 4 && variance > 0.0 ? power : nothing);
        }
    }
}

} // namespace starskope
