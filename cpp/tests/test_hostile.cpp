// Entry points under random calls; see hostile.hpp.
#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "hostile.hpp"
#include "starskope/decode.hpp"
#include "starskope/fft.hpp"
#include "starskope/md5.hpp"
#include "starskope/photometry.hpp"
#include "starskope/spectra.hpp"
#include "starskope/stack.hpp"

using namespace starskope;
using test::attack;
using test::Attack;

namespace {

// Lengths that the planner treats in different ways, and never long ones: time is for many calls.
std::size_t padded(Attack& a, std::size_t n_time) {
    const std::array<std::size_t, 4> right{n_time, n_time + 1, 2 * n_time, 5 * n_time};
    const std::size_t n = a.setting(std::max<std::size_t>(right[a.below(4)], 1));
    // A transform of gigabytes is valid: what it asks for is not there to be had in tests.
    return n > 1000 && n <= max_fft_length ? max_fft_length + 1 : n;
}

template <class T>
View1<T> maybe(Attack& a, std::size_t n) {
    return a.once_in(3) ? View1<T>{} : a.vector<T>(n);
}

} // namespace

TEST(hostile_decode_plane) {
    attack("decode_plane", 3000, [](Attack& a) {
        const std::size_t n_row = a.size(), n_col = a.size(), offset = a.below(9);
        const auto out = a.matrix<float>(n_row, n_col);
        const auto bytes = a.vector<const unsigned char>(a.near(offset + 4 * n_row * n_col));
        decode_plane(bytes, a.setting(offset), out);
    });
}

// Series that are sorted in the cache, now and then ones that are too long for that.
static std::size_t sorted_or_searched(Attack& a) {
    return a.once_in(30) ? 200 + a.below(2000) : a.size();
}

TEST(hostile_series_statistics) {
    attack("series_statistics", 3000, [](Attack& a) {
        const std::size_t n_time = sorted_or_searched(a), n_series = a.size();
        const auto data = a.matrix<const float>(n_time, n_series);
        const int iterations[] = {0, 1, 5, until_stable, -2, std::numeric_limits<int>::min(), 1000};
        Clip clip;
        clip.sigma_low = a.setting(3.0);
        clip.sigma_high = a.setting(2.0);
        clip.max_iters = a.once_in(4) ? iterations[a.below(7)] : 5;
        clip.center = a.once_in(2) ? Center::mean : Center::median;
        SeriesStatistics out;
        out.mean = maybe<float>(a, a.near(n_series));
        out.median = maybe<float>(a, a.near(n_series));
        out.std = maybe<float>(a, a.near(n_series));
        out.count = maybe<std::int32_t>(a, a.near(n_series));
        series_statistics(data, clip, out);
    });
}

// Rows of their own, at any address, with the right number of bytes.
static std::vector<const unsigned char*> rows_of(Attack& a, std::size_t n_time, std::size_t n_series) {
    std::vector<const unsigned char*> rows(n_time);
    for (const unsigned char*& row : rows) {
        row = a.once_in(10 * n_time) ? nullptr : a.vector<const unsigned char>(4 * n_series + a.below(3)).data;
    }
    return rows;
}

TEST(hostile_frames) {
    attack("frames", 1500, [](Attack& a) {
        const std::size_t n_time = sorted_or_searched(a), n_series = a.size();
        const auto rows = rows_of(a, n_time, n_series);
        Frames frames{.rows = {a.once_in(40) ? nullptr : rows.data(), n_time}, .n_series = n_series};
        frames.order = a.once_in(2) ? ByteOrder::big : ByteOrder::native;
        if (a.once_in(3)) {
            frames.mask = a.matrix<const std::uint8_t>(a.near(n_time), a.near(n_series));
        }
        if (a.once_in(3)) {
            frames.weight = a.matrix<const float>(a.near(n_time), a.near(n_series));
        }
        frames.frame_weight = maybe<const float>(a, a.near(n_time));
        Clip clip;
        clip.max_iters = a.once_in(4) ? 0 : 3;
        clip.sigma_low = a.setting(2.0);
        clip.scale = a.once_in(2) ? Scale::mad : Scale::std;
        SeriesStatistics out;
        out.mean = maybe<float>(a, a.near(n_series));
        out.median = maybe<float>(a, a.near(n_series));
        out.std = maybe<float>(a, a.near(n_series));
        out.count = maybe<std::int32_t>(a, a.near(n_series));
        if (a.once_in(2)) {
            out.rejected = a.matrix<std::uint8_t>(a.near(n_time), a.near(n_series));
        }
        series_statistics(frames, clip, out);
    });
}

TEST(hostile_moments) {
    const auto moments = [](Attack& a, std::size_t n) {
        return SeriesMoments{.count = a.vector<double>(a.near(n)),
                             .mean = a.vector<double>(a.near(n)),
                             .squares = a.vector<double>(a.near(n))};
    };
    attack("add_frames", 1500, [&](Attack& a) {
        const std::size_t n_time = a.size(), n_series = a.size();
        const auto rows = rows_of(a, n_time, n_series);
        Frames frames{.rows = {rows.data(), n_time}, .n_series = n_series};
        frames.order = a.once_in(2) ? ByteOrder::big : ByteOrder::native;
        if (a.once_in(3)) {
            frames.mask = a.matrix<const std::uint8_t>(a.near(n_time), a.near(n_series));
        }
        if (a.once_in(30)) {
            frames.frame_weight = a.vector<const float>(n_time);
        }
        add_frames(frames, moments(a, n_series));
    });
    attack("merge_moments", 1500, [&](Attack& a) {
        const std::size_t n = a.size();
        merge_moments(moments(a, n), moments(a, n));
    });
}

TEST(hostile_aperture_sums) {
    attack("aperture_sums", 2000, [](Attack& a) {
        const std::size_t n_star = a.size();
        const auto image = a.matrix<const float>(a.size(), a.size());
        const auto row = a.vector<const double>(a.near(n_star));
        const auto column = a.vector<const double>(a.near(n_star));
        const auto radius = a.vector<const double>(a.near(n_star), [&](std::size_t) {
            return a.once_in(300) ? a.number() : 0.1 + 0.3 * double(a.below(20)); // one bad radius refuses the call
        });
        const auto total = a.vector<double>(a.near(n_star)), area = a.vector<double>(a.near(n_star));
        const auto n_bad = a.vector<std::int32_t>(a.near(n_star));
        aperture_sums(image, row, column, radius, total, area, n_bad);
    });
}

namespace {

template <class T>
void attack_transforms(const char* forward, const char* backward, const char* complex) {
    attack(forward, 1000, [](Attack& a) {
        const std::size_t n_time = a.size(), n_series = a.size(), n_fft = padded(a, n_time);
        const std::size_t n_freq = std::min<std::size_t>(n_fft, 500) / 2 + 1;
        const auto data = a.matrix<const T>(n_time, n_series);
        rfft(data, n_fft, a.matrix<std::complex<T>>(a.near(n_freq), a.near(n_series)), a.setting(1.0));
    });
    attack(backward, 1000, [](Attack& a) {
        const std::size_t n_fft = a.setting(a.size()), n_series = a.size();
        const std::size_t n_freq = std::min<std::size_t>(n_fft, 500) / 2 + 1 - a.once_in(4);
        const auto data = a.matrix<const std::complex<T>>(a.near(n_freq), n_series);
        irfft(data, n_fft, a.matrix<T>(a.near(std::min<std::size_t>(n_fft, 500)), a.near(n_series)), a.setting(1.0));
    });
    attack(complex, 1000, [](Attack& a) {
        const std::size_t n_time = a.size(), n_series = a.size(), n_fft = padded(a, n_time);
        const auto data = a.matrix<const std::complex<T>>(n_time, n_series);
        const auto out = a.matrix<std::complex<T>>(a.near(std::min<std::size_t>(n_fft, 500)), a.near(n_series));
        fft(data, n_fft, out, a.once_in(2) ? Direction::forward : Direction::backward, a.setting(1.0));
    });
}

} // namespace

TEST(hostile_transforms) {
    attack_transforms<float>("rfft", "irfft", "fft");
    attack_transforms<double>("rfft of float64", "irfft of float64", "fft of float64");
}

TEST(hostile_power_spectrum) {
    attack("power_spectrum", 2000, [](Attack& a) {
        const std::size_t n_time = a.size(), n_series = a.size(), n_fft = padded(a, n_time);
        const auto data = a.matrix<const float>(n_time, n_series);
        const auto window =
            a.once_in(2)
                ? View1<const float>{}
                : a.vector<const float>(a.near(n_time), [&](std::size_t) { return a.once_in(500) ? a.number() : 1.0; });
        const auto out = a.matrix<float>(a.near(std::min<std::size_t>(n_fft, 500) / 2 + 1), a.near(n_series));
        SpectrumOptions options;
        options.trend = a.once_in(2) ? Trend::linear : Trend::constant;
        options.normalization = a.once_in(2) ? Normalization::density : Normalization::amplitude;
        options.cadence = a.setting(0.02);
        power_spectrum(data, window, n_fft, out, options);
    });
}

TEST(hostile_spectrogram) {
    attack("spectrogram", 2000, [](Attack& a) {
        const std::size_t n_time = a.size(), n_series = a.size();
        const std::size_t segment = 1 + a.below(n_time + 1), step = 1 + a.below(n_time + 3);
        const std::size_t n_segment = n_time < segment ? 0 : 1 + (n_time - segment) / step;
        const auto data = a.matrix<const float>(n_time, n_series);
        const auto window = a.once_in(2) ? View1<const float>{} : a.vector<const float>(a.near(segment));
        const auto out = a.matrix<float>(a.near(n_segment * (segment / 2 + 1)), a.near(n_series));
        spectrogram(data, window, a.setting(segment), a.setting(step), out);
    });
}

TEST(hostile_autocorrelation) {
    attack("autocorrelation", 2000, [](Attack& a) {
        const std::size_t n_time = a.size(), n_series = a.size(), n_lag = 1 + a.below(n_time + 1);
        const auto data = a.matrix<const float>(n_time, n_series);
        autocorrelation(data, a.matrix<float>(a.near(n_lag), a.near(n_series)), a.once_in(2));
    });
}

TEST(hostile_lomb_scargle) {
    attack("lomb_scargle", 1000, [](Attack& a) {
        const std::size_t n_time = a.size(), n_series = a.size(), n_fft = padded(a, n_time);
        const auto data = a.matrix<const float>(n_time, n_series);
        PointWeights weights;
        if (a.once_in(3)) {
            weights.shared = a.vector<const float>(a.near(n_time));
        }
        if (a.once_in(3)) {
            weights.each_series = a.matrix<const float>(a.near(n_time), a.near(n_series));
        }
        const std::size_t n_freq = a.below(std::min<std::size_t>(n_fft, 500) / 2 + 1);
        const auto out = a.matrix<float>(a.once_in(12) ? n_freq + 300 : n_freq, a.near(n_series));
        lomb_scargle(data, weights, n_fft, out);
    });
}

TEST(hostile_md5) {
    attack("md5", 3000, [](Attack& a) {
        Md5Lanes lanes(a.setting(64 * a.below(9)));
        Md5 sum(lanes), other(lanes);
        sum.update(a.vector<const unsigned char>(a.below(200)));
        other.update(a.vector<const unsigned char>(a.below(900)));
        sum.update(a.vector<const unsigned char>(a.below(3000)));
        sum.digest();
    });
}
