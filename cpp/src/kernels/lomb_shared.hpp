// Lomb-Scargle periodograms of panels whose series all have the points and weights of the reference.
#pragma once

#include "lomb_reference.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// How the samples of a block become weighted ones of mean 0 and scatter near 1.
struct LevelledPair {
    Complex<Floats> scale, shift, rest;

    // 0 where a point is missing.
    Complex<Floats> operator()(const float* row, float weight) const {
        const Complex<Floats> x = load_row<Floats>(row);
        const Floats w = splat(weight);
        const Floats re = (multiply_subtract(x.re, scale.re, shift.re) - rest.re) * w;
        const Floats im = (multiply_subtract(x.im, scale.im, shift.im) - rest.im) * w;
        return {x.re == x.re ? re : Floats{}, x.im == x.im ? im : Floats{}};
    }
};

// Powers at element k from sums over points in float64.
void write_exact(const LombScargleJob& job, const Scratch& scratch, const Reference& reference, size_t k,
                 const float* raw, const double* mean, const double* factor, float* out, size_t n_series) {
    const size_t n_fft = job.grid->exact->n_fft, centre = job.n_time / 2;
    Turns turns((n_fft - k * centre % n_fft) % n_fft, k, n_fft);
    Doubles means[4], cosine[4]{}, sine[4]{};
    for (size_t i = 0; i < 4; ++i) {
        means[i] = load_wide(mean + i * half);
    }
    for (size_t j = 0; j < job.n_time; ++j, turns.next()) {
        const Doubles re = splat_double(double(scratch.weights[j]) * turns.re);
        const Doubles im = splat_double(double(scratch.weights[j]) * turns.im);
        for (size_t i = 0; i < 4; ++i) {
            const Doubles x = load_doubles(raw + j * row_size<Floats> + i * half);
            const Doubles d = x == x ? x - means[i] : Doubles{};
            cosine[i] = multiply_add(d, re, cosine[i]);
            sine[i] = multiply_add(d, im, sine[i]);
        }
    }
    Turns turn(centre * k % n_fft, 0, n_fft);
    const Axes axes = principal_axes(reference.moments(k, {turn.re, -turn.im}));
    for (size_t i = 0; i < n_series; ++i) {
        const double c = cosine[i / half][i % half], s = sine[i / half][i % half];
        const double major = axes.a * c + axes.b * s, minor = axes.c * c + axes.d * s;
        out[i] = float((major * major + minor * minor) * factor[i]);
    }
}

void write_shared(const LombScargleJob& job, const Scratch& scratch, const Reference& reference, const Panel& panel,
                  size_t first) {
    const FftPlan& plan = job.grid->fine->plan;
    const double total = reference.total();
    for (size_t b = 0; b * block_series < panel.n_series; ++b) {
        alignas(64) float factor[block_series], rest[block_series];
        alignas(64) double means[block_series], exact_factor[block_series];
        Levels levels;
        for (size_t i = 0; i < block_series; ++i) {
            const size_t at = b * block_series + i;
            const double mean = panel.mean(at), square = panel.square(at, mean);
            const double scale = inverse_scale(__builtin_sqrt(square));
            levels.scale[i] = float(scale);
            levels.shift[i] = float(mean * scale);
            rest[i] = float(mean * scale - double(levels.shift[i]));
            const bool known = panel.moments.count[at] >= least_points && square > 0.0;
            means[i] = mean;
            exact_factor[i] = known ? 1.0 / (total * total * square) : double(__builtin_nanf(""));
            factor[i] = float(0.25 * exact_factor[i] / (scale * scale)); // of doubled sums of levelled samples
        }
        const LevelledPair level{load_row<Floats>(levels.scale), load_row<Floats>(levels.shift),
                                 load_row<Floats>(rest)};
        const float* const raw = panel.blocks + b * panel.block_size;
        for (size_t j = 0; j < plan.n; ++j) {
            store_row<Floats>(scratch.block + job.grid->place[j] * row_size<Floats>,
                              j < job.n_time ? level(raw + j * row_size<Floats>, scratch.lifted[j])
                                             : Complex<Floats>{});
        }
        transform_block(plan, scratch.block, scratch.buffer);
        const size_t left = panel.n_series - b * block_series, n = left < block_series ? left : block_series;
        float* const out = job.power + first + b * block_series;
        const Complex<Floats> f = load_row<Floats>(factor);
        const bool past = n == block_series;
        const auto write_power = [&](size_t k, const float* rows, const float* taps) __attribute__((always_inline)) {
            const float* const axes = scratch.tables + 4 * (k - 1);
            const Floats a = splat(axes[0]), b_ = splat(axes[1]), c = splat(axes[2]), d = splat(axes[3]);
            const auto power = [&](Complex<Floats> x, Floats by) __attribute__((always_inline)) {
                const Floats major = multiply_add(a, x.re, b_ * x.im), minor = multiply_add(c, x.re, d * x.im);
                return multiply_add(major, major, minor * minor) * by;
            };
            const Floats one = power(weigh(rows, taps), f.re), other = power(weigh(rows + 2 * lanes, taps), f.im);
            float* const row = out + (k - 1) * job.power_stride;
            if (past) {
                const bool whole = uintptr_t(row) % 64 == 0;
                write_vector(row, one, whole);
                write_vector(row + lanes, other, whole);
            } else {
                float both[block_series];
                store(both, one);
                store(both + lanes, other);
                __builtin_memcpy(row, both, n * sizeof(float));
            }
        };
        size_t begin = 1;
        for (size_t i = 0; i <= reference.n_exact; ++i) {
            const size_t end = i < reference.n_exact ? scratch.exact[i] : job.n_freq + 1;
            for_elements(*job.grid, scratch.block, scratch.band, begin, end, write_power);
            if (i < reference.n_exact) {
                write_exact(job, scratch, reference, end, raw, means, exact_factor, out + (end - 1) * job.power_stride,
                            n);
            }
            begin = end + 1;
        }
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
