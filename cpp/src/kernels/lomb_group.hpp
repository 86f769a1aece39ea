// Lomb-Scargle periodograms of series with points or weights of their own.
#pragma once

#include "lomb_reference.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// A vector of series, each with its own points.
struct Group {
    size_t first;
    size_t n;
    alignas(64) float reference[lanes];
    double total[lanes];  // of the weights
    double square[lanes]; // mean of levelled values squared
    bool known[lanes];
    bool alone[lanes];

    Floats take(const float* data, size_t stride, size_t j) const {
        if (n == lanes) {
            return load<Floats>(data + j * stride + first);
        }
        float some[lanes] = {};
        __builtin_memcpy(some, data + j * stride + first, n * sizeof(float));
        return load<Floats>(some);
    }

    Floats values(const LombScargleJob& job, size_t j) const {
        return take(job.data, job.row_stride, j) - load<Floats>(reference);
    }

    // 0 where a point is missing.
    Floats weights(const LombScargleJob& job, size_t j, Floats d) const {
        const Floats w =
            job.weights == nullptr ? splat(job.shared_weights[j]) : take(job.weights, job.weights_stride, j);
        return (d - d == 0.0f) & (w - w == 0.0f) & (w > 0.0f) ? w : Floats{};
    }
};

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
    double operator[](size_t lane) const { return lane < half ? low[lane] : high[lane - half]; }
};

// Fills the source block of a group: as real parts how its weights differ from the reference's, as imaginary parts the
// weighted series.
void take_group(const LombScargleJob& job, const Scratch& scratch, const Reference& reference, Group& group,
                float* block) {
    for (size_t i = 0; i < group.n; ++i) {
        group.reference[i] = reference_of({job.data + group.first, job.n_time, job.row_stride}, i);
    }
    LaneSums weight, sum, size, count;
    for (size_t j = 0; j < job.n_time; ++j) {
        const Floats d = group.values(job, j), w = group.weights(job, j, d), there = w > 0.0f ? d : Floats{};
        weight.add(w);
        sum.add_product(w, there);
        size.add(there < 0.0f ? -there : there);
        count.add(w > 0.0f ? splat(1.0f) : Floats{});
    }
    alignas(64) float scale[lanes], shift[lanes], rest[lanes], unit[lanes];
    for (size_t i = 0; i < lanes; ++i) {
        const double n = count[i] > 0.0 ? count[i] : 1.0, mean = weight[i] > 0.0 ? sum[i] / weight[i] : 0.0;
        // Smaller than the weights, which at low frequencies need all their digits: each part takes on rounding errors
        // of the other.
        const double by = 0.125 * inverse_scale(size[i] / n);
        scale[i] = float(by);
        shift[i] = float(mean * by);
        rest[i] = float(mean * by - double(shift[i]));
        unit[i] = job.weights == nullptr ? 1.0f : float(inverse_scale(weight[i] / n));
    }
    LaneSums apart, variance, spread;
    for (size_t j = 0; j < job.n_time; ++j) {
        const Floats d = group.values(job, j), w = group.weights(job, j, d) * load<Floats>(unit);
        const Floats level = multiply_subtract(d, load<Floats>(scale), load<Floats>(shift)) - load<Floats>(rest);
        const Floats there = w > 0.0f ? level : Floats{}, weighted = w * there, difference = w - scratch.weights[j];
        store_row<Floats>(block + job.grid->plan.place[j] * row_size<Floats>, {difference, weighted});
        apart.add(difference);
        variance.add_product(weighted, there);
        spread.add_product(w, w);
    }
    for (size_t j = job.n_time; j < job.grid->plan.n; ++j) {
        store_row<Floats>(block + job.grid->plan.place[j] * row_size<Floats>, {Floats{}, Floats{}});
    }
    for (size_t i = 0; i < lanes; ++i) {
        group.total[i] = reference.total() + apart[i];
        group.square[i] = variance[i] / group.total[i];
        group.known[i] = count[i] >= least_points && group.square[i] > 0.0;
        const double effective = group.total[i] * group.total[i] / spread[i];
        group.alone[i] = group.known[i] && (effective < 32.0 || 4.0 * count[i] < reference.total());
    }
}

// What one element of the transform of a source block says of its series: sums over points of (weight less reference)
// and of (weighted series) times exp(-2 pi i j k / n_fft), and the former at 2 k.
struct PointSums {
    double once[2][lanes];
    double twice[2][lanes];
    double series[2][lanes];
};

// The same as PointSums from float32 transforms, point by point in float64.
void sum_points(const LombScargleJob& job, const float* source, size_t k, PointSums& sums) {
    const double angle = 2.0 * 3.14159265358979323846 * double(k) / double(job.grid->n_fft);
    const double step[2] = {__builtin_cos(angle), -__builtin_sin(angle)};
    double turn[2] = {1.0, 0.0};
    sums = {};
    for (size_t j = 0; j < job.n_time; ++j) {
        const Complex<Floats> x = load_row<Floats>(source + job.grid->plan.place[j] * row_size<Floats>);
        const double twice[2] = {turn[0] * turn[0] - turn[1] * turn[1], 2.0 * turn[0] * turn[1]};
        const auto add = [&](double* to, Doubles value, double by) __attribute__((always_inline)) {
            store_wide(to, multiply_add(value, splat_double(by), load_wide(to)));
        };
        for (int part = 0; part < 2; ++part) {
            for (int i = 0; i < 2; ++i) {
                const Doubles weight = i == 0 ? lower(x.re) : upper(x.re), value = i == 0 ? lower(x.im) : upper(x.im);
                add(sums.once[part] + i * half, weight, turn[part]);
                add(sums.twice[part] + i * half, weight, twice[part]);
                add(sums.series[part] + i * half, value, turn[part]);
            }
        }
        const double next = turn[0] * step[0] - turn[1] * step[1];
        turn[1] = turn[0] * step[1] + turn[1] * step[0];
        turn[0] = next;
    }
}

// Powers of a group at one frequency in float64, from its sums and the transform of the reference at k and 2 k.
Floats solve_group(const Group& group, const PointSums& sums, Complex<double> once, Complex<double> twice) {
    Floats power{};
    for (size_t i = 0; i < lanes; ++i) {
        const double by = 1.0 / group.total[i];
        const Axes axes = principal_axes(
            trigonometry(Complex<double>{(once.re + sums.once[0][i]) * by, (once.im + sums.once[1][i]) * by},
                         Complex<double>{(twice.re + sums.twice[0][i]) * by, (twice.im + sums.twice[1][i]) * by}),
            least_own);
        const double cosine = sums.series[0][i] * by, sine = sums.series[1][i] * by;
        const double major = axes.a * cosine + axes.b * sine, minor = axes.c * cosine + axes.d * sine;
        power[i] = float((major * major + minor * minor) / group.square[i]);
    }
    return power;
}

void write_group(const LombScargleJob& job, const Scratch& scratch, const Reference& reference, Group& group) {
    const FftGrid& grid = *job.grid;
    const FftPlan& plan = grid.plan;
    const size_t block_size = plan.n_row * row_size<Floats>;
    float* const source = scratch.work;
    float* const work = source + block_size;
    take_group(job, scratch, reference, group, source);
    for (size_t residue = 0; residue < grid.n_residue; ++residue) {
        float* const block = work + residue * block_size;
        if (grid.n_residue > 1) {
            transform_columns(plan, block, source, grid.phase.single + residue * plan.n_row * 2);
        } else {
            __builtin_memcpy(block, source, block_size * sizeof(float));
            transform_columns(plan, block);
        }
        for (size_t i = 0; i < plan.n_group; ++i) {
            transform_group(plan, block, i, scratch.buffer);
        }
    }
    alignas(64) float by[lanes], factor[lanes];
    for (size_t i = 0; i < lanes; ++i) {
        by[i] = float(1.0 / group.total[i]);
        group.square[i] = group.known[i] ? group.square[i] : double(__builtin_nanf(""));
        factor[i] = float(0.5 / (group.total[i] * __builtin_sqrt(group.square[i])));
    }
    const Floats part = load<Floats>(by), half_part = part * 0.5f, f = load<Floats>(factor);
    // The error of a transform of n points, of the order of 1e-7 / sqrt(n), grows by the inverse of this.
    const float least_axis = 0.2f / __builtin_sqrtf(float(job.n_time));
    const auto element = [&](size_t k) { return load_row<Floats>(work + grid.rows[k] * row_size<Floats>); };
    for (size_t k = 1; k <= job.n_freq; ++k) {
        const Complex<Floats> z = element(k), m = element(grid.n_fft - k);
        const size_t k2 = 2 * k < grid.n_fft ? 2 * k : 2 * k - grid.n_fft;
        const Complex<Floats> z2 = element(k2), m2 = element((grid.n_fft - k2) % grid.n_fft);
        const float* const shared = scratch.tables + 8 * (k - 1) + 4;
        const Complex<Floats> own{z.re + m.re, z.im - m.im}, own2{z2.re + m2.re, z2.im - m2.im};
        const Complex<Floats> series{z.im + m.im, m.re - z.re};
        const Trigonometry<Floats> t =
            trigonometry(Complex<Floats>{multiply_add(splat(shared[0]), part, own.re * half_part),
                                         multiply_add(splat(shared[1]), part, own.im * half_part)},
                         Complex<Floats>{multiply_add(splat(shared[2]), part, own2.re * half_part),
                                         multiply_add(splat(shared[3]), part, own2.im * half_part)});
        const Floats cosine = series.re * f, sine = series.im * f;
        const Floats determinant = t.cc * t.ss - t.cs * t.cs, trace = t.cc + t.ss;
        Floats power = (t.ss * cosine * cosine + t.cc * sine * sine - 2.0f * t.cs * cosine * sine) / determinant;
        if (__builtin_expect(any(Longs(determinant < least_determinant)), 0)) {
            PointSums sums;
            if (2 * k != grid.n_fft && any(Longs(determinant < least_axis * trace * trace))) {
                sum_points(job, source, k, sums);
            } else {
                for (size_t i = 0; i < lanes; ++i) {
                    sums.once[0][i] = 0.5 * double(own.re[i]);
                    sums.once[1][i] = 0.5 * double(own.im[i]);
                    sums.twice[0][i] = 0.5 * double(own2.re[i]);
                    sums.twice[1][i] = 0.5 * double(own2.im[i]);
                    sums.series[0][i] = 0.5 * double(series.re[i]);
                    sums.series[1][i] = 0.5 * double(series.im[i]);
                }
            }
            power = solve_group(group, sums, reference.window.at(k), reference.window.at(k2));
        }
        float* const out = job.power + (k - 1) * job.power_stride + group.first;
        if (group.n == lanes) {
            write_vector(out, power, lanes == 16 && uintptr_t(out) % 64 == 0); // whole lines only
        } else {
            __builtin_memcpy(out, &power, group.n * sizeof(float));
        }
    }
}

// One series all in float64: its weights are too few, or too unlike those of the others.
void write_alone(const LombScargleJob& job, const Scratch& scratch, size_t series) {
    const size_t n_fft = job.grid->n_fft, size = 2 * (n_fft / 2 + 1);
    double* const values = scratch.own + 2 * size; // (n_time,), weights in scratch.next
    double total = 0.0, sum = 0.0, square = 0.0;
    Group group{};
    group.first = series;
    group.n = 1;
    group.reference[0] = reference_of({job.data + series, job.n_time, job.row_stride}, 0);
    for (size_t j = 0; j < job.n_time; ++j) {
        const Floats d = group.values(job, j), w = group.weights(job, j, d);
        scratch.next[j] = w[0];
        values[j] = w[0] > 0.0f ? double(d[0]) : 0.0;
        total += double(w[0]);
        sum += double(w[0]) * values[j];
    }
    for (size_t j = 0; j < job.n_time; ++j) {
        values[j] -= sum / total;
        square += double(scratch.next[j]) * values[j] * values[j];
    }
    const Elements window =
        transform_wide(job, scratch, [&](size_t j) { return double(scratch.next[j]); }, scratch.own);
    const Elements weighted =
        transform_wide(job, scratch, [&](size_t j) { return double(scratch.next[j]) * values[j]; }, scratch.own + size);
    for (size_t k = 1; k <= job.n_freq; ++k) {
        const Axes axes = principal_axes(window.moments(k), least_shared);
        const Complex<double> x = weighted.at(k);
        const double major = axes.a * x.re + axes.b * x.im, minor = axes.c * x.re + axes.d * x.im;
        job.power[(k - 1) * job.power_stride + series] = float((major * major + minor * minor) / (total * square));
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
