// Lomb-Scargle periodograms of series with points or weights of their own: the weights of a series and its weighted
// samples are transformed together, as real and imaginary parts.
#pragma once

#include "lomb_reference.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Below this a determinant of moments (1/4 where nothing is special) is taken from float64 sums.
constexpr float least_determinant = 0.06f;

// A float64 sum for every lane.
struct LaneSums {
    Doubles low{}, high{};

    void add(Floats x) {
        low += lower(x);
        high += upper(x);
    }
    void add_product(Floats x, Floats y) {
        low = multiply_add(lower(x), lower(y), low);
        high = multiply_add(upper(x), upper(y), high);
    }
    void add_turned(Floats x, double by) {
        low = multiply_add(lower(x), splat_double(by), low);
        high = multiply_add(upper(x), splat_double(by), high);
    }
    double operator[](size_t lane) const { return lane < half ? low[lane] : high[lane - half]; }
};

// A vector of series of a panel, each with its own points.
struct Group {
    const float* samples;      // (n_time, row_size): less their reference, NaN = missing
    const float* errors;       // the same of the weights of each series; null: the shared ones
    const float* shared;       // (n_time,)
    Floats unit;               // brings weights of each series near 1
    Floats scale, shift, rest; // a levelled sample is x * scale - shift - rest
    double mean[lanes];        // of the samples
    double total[lanes];       // of the weights
    double square[lanes];      // mean of samples squared, less their mean; NaN where there is no answer
    double power[lanes];       // of two that brings samples near 1

    // 0 where a point is missing.
    Floats weight(size_t j, Floats x) const {
        const Floats w = errors == nullptr ? splat(shared[j]) : load<Floats>(errors + j * row_size<Floats>) * unit;
        return (x == x) & (w - w == 0.0f) & (w > 0.0f) ? w : Floats{};
    }

    // Weight and weighted sample.
    Complex<Floats> operator()(size_t j) const {
        const Floats x = load<Floats>(samples + j * row_size<Floats>), w = weight(j, x);
        const Floats level = multiply_subtract(x, scale, shift) - rest;
        return {w, w > 0.0f ? w * level : Floats{}};
    }
};

// Takes means and scatters, and with `count` how many points each series has and how far they are spread.
void measure_group(const LombScargleJob& job, Group& group, double* count, double* spread, size_t n) {
    // Weights of any size: their mean over the points first.
    LaneSums sum_weight, n_point;
    group.unit = splat(1.0f);
    for (size_t j = 0; j < job.n_time; ++j) {
        const Floats w = group.weight(j, load<Floats>(group.samples + j * row_size<Floats>));
        sum_weight.add(w);
        n_point.add(w > 0.0f ? splat(1.0f) : Floats{});
    }
    alignas(64) float unit[lanes], scale[lanes], shift[lanes], rest[lanes];
    for (size_t i = 0; i < lanes; ++i) {
        unit[i] =
            group.errors == nullptr || !(n_point[i] > 0.0) ? 1.0f : float(inverse_scale(sum_weight[i] / n_point[i]));
    }
    group.unit = load<Floats>(unit);
    LaneSums weight, sum, squares, moment, inertia;
    for (size_t j = 0; j < job.n_time; ++j) {
        const Floats x = load<Floats>(group.samples + j * row_size<Floats>), w = group.weight(j, x);
        const Floats there = w > 0.0f ? x : Floats{};
        const Doubles low = lower(w) * lower(there), high = upper(w) * upper(there);
        weight.add(w);
        sum.low += low;
        sum.high += high;
        squares.low = multiply_add(low, lower(there), squares.low);
        squares.high = multiply_add(high, upper(there), squares.high);
        const double place = double(j) - 0.5 * double(job.n_time);
        moment.add_turned(w, place);
        inertia.add_turned(w, place * place);
    }
    for (size_t i = 0; i < lanes; ++i) {
        const double w = weight[i] > 0.0 ? weight[i] : 1.0, mean = sum[i] / w;
        const double variance = squares[i] / w - mean * mean,
                     by = inverse_scale(__builtin_sqrt(variance > 0.0 ? variance : 0.0));
        scale[i] = float(by);
        shift[i] = float(mean * by);
        rest[i] = float(mean * by - double(shift[i]));
        const bool known = n_point[i] >= least_points && variance > 0.0;
        group.total[i] = w;
        group.mean[i] = mean;
        group.power[i] = by;
        group.square[i] = known ? variance : double(__builtin_nanf(""));
        if (count != nullptr && i < n) {
            count[i] = n_point[i];
            spread[i] = inertia[i] / w - moment[i] / w * (moment[i] / w);
        }
    }
    group.scale = load<Floats>(scale);
    group.shift = load<Floats>(shift);
    group.rest = load<Floats>(rest);
}

// Powers of a group at element k from sums over points in float64.
Floats exact_power(const LombScargleJob& job, const Group& group, size_t k) {
    const size_t n_fft = job.grid->exact->n_fft, centre = job.n_time / 2;
    Turns turns((n_fft - k * centre % n_fft) % n_fft, k, n_fft);
    LaneSums once[2], twice[2], series[2];
    const Doubles low_mean = load_wide(group.mean), high_mean = load_wide(group.mean + half);
    for (size_t j = 0; j < job.n_time; ++j, turns.next()) {
        const Floats x = load<Floats>(group.samples + j * row_size<Floats>), w = group.weight(j, x);
        const Floats there = w > 0.0f ? x : Floats{};
        const Doubles low = lower(w) * (lower(there) - low_mean), high = upper(w) * (upper(there) - high_mean);
        once[0].add_turned(w, turns.re);
        once[1].add_turned(w, turns.im);
        twice[0].add_turned(w, turns.re * turns.re - turns.im * turns.im);
        twice[1].add_turned(w, 2.0 * turns.re * turns.im);
        for (int i = 0; i < 2; ++i) {
            const Doubles by = splat_double(i == 0 ? turns.re : turns.im);
            series[i].low = multiply_add(low, by, series[i].low);
            series[i].high = multiply_add(high, by, series[i].high);
        }
    }
    Floats power{};
    for (size_t i = 0; i < lanes; ++i) {
        const double by = 1.0 / group.total[i];
        const Axes axes = principal_axes(trigonometry(Complex<double>{once[0][i] * by, once[1][i] * by},
                                                      Complex<double>{twice[0][i] * by, twice[1][i] * by}));
        const double cosine = series[0][i] * by, sine = series[1][i] * by;
        const double major = axes.a * cosine + axes.b * sine, minor = axes.c * cosine + axes.d * sine;
        power[i] = float((major * major + minor * minor) / group.square[i]);
    }
    return power;
}

void write_group(const LombScargleJob& job, const Scratch& scratch, const Group& group, float* out, size_t n) {
    const LombGrid& grid = *job.grid;
    const FftPlan& plan = grid.fine->plan;
    const size_t n_fft = grid.exact->n_fft;
    for (size_t j = 0; j < plan.n; ++j) {
        Complex<Floats> x{};
        if (j < job.n_time) {
            x = group(j);
            const Floats lift = splat(grid.lift[j]);
            x = {x.re * lift, x.im * lift};
        }
        store_row<Floats>(scratch.block + grid.place[j] * row_size<Floats>, x);
    }
    transform_block(plan, scratch.block, scratch.buffer);
    alignas(64) float by[lanes], factor[lanes];
    for (size_t i = 0; i < lanes; ++i) {
        by[i] = float(0.5 / group.total[i]);
        const double scale = group.total[i] * group.power[i];
        factor[i] = float(0.25 / (scale * scale * group.square[i])); // of doubled sums of levelled samples
    }
    const Floats part = load<Floats>(by), f = load<Floats>(factor);
    const Ints known = f == f;
    // Weights at all elements first: each is asked for at k and, by another row, at 2 k.
    const size_t most = 2 * job.n_freq < n_fft / 2 ? 2 * job.n_freq : n_fft / 2;
    for_elements(grid, scratch.block, scratch.band, 0, most + 1,
                 [&](size_t k, const float* rows, const float* taps) __attribute__((always_inline)) {
                     const Complex<Floats> w = weigh(rows, taps);
                     store_row<Floats>(scratch.elements + k * row_size<Floats>, {w.re * part, w.im * part});
                 });
    for_elements(grid, scratch.block, scratch.band, 1, job.n_freq + 1,
                 [&](size_t k, const float* rows, const float* taps) __attribute__((always_inline)) {
                     const Complex<Floats> series = weigh(rows + 2 * lanes, taps);
                     const bool upper_half = 2 * k > n_fft / 2;
                     const Complex<Floats> once = load_row<Floats>(scratch.elements + k * row_size<Floats>);
                     const Complex<Floats> mirror =
                         load_row<Floats>(scratch.elements + (upper_half ? n_fft - 2 * k : 2 * k) * row_size<Floats>);
                     const Trigonometry<Floats> t =
                         trigonometry(once, Complex<Floats>{mirror.re, upper_half ? -mirror.im : mirror.im});
                     const Floats determinant = t.cc * t.ss - t.cs * t.cs;
                     Floats power = (t.ss * series.re * series.re + t.cc * series.im * series.im -
                                     2.0f * t.cs * series.re * series.im) *
                                    f / determinant;
                     if (__builtin_expect(any(Longs((determinant < least_determinant) & known)), 0)) {
                         power = exact_power(job, group, k);
                     }
                     float* const row = out + (k - 1) * job.power_stride;
                     if (n == lanes) {
                         write_vector(row, power, lanes == 16 && uintptr_t(row) % 64 == 0); // whole lines only
                     } else {
                         __builtin_memcpy(row, &power, n * sizeof(float));
                     }
                 });
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
