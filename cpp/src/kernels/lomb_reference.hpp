// The weights that series share in a Lomb-Scargle periodogram, and their transform in float64.
#pragma once

#include "panel_transform.hpp"
#include "sine_fit.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t least_points = 4;
constexpr double least_shared = 1e-12;    // of a moment from float64 sums
constexpr double least_own = 1e-8;        // of one that float32 sums have a part in
constexpr float least_determinant = 0.1f; // below this float32 loses too many digits; 1/4 where nothing is special

size_t rounded(size_t n) {
    return (n + 15) / 16 * 16;
}

// Where the parts of the scratch memory begin, in floats.
struct Layout {
    size_t panel = 0; // panel_blocks
    size_t work;
    size_t buffer;
    size_t window;  // (n_fft / 2 + 1,) complex float64: transform of the weights
    size_t tables;  // (n_freq, 8): axes, then the transform of the weights at k and at 2 k
    size_t weights; // (n_time,): what window and tables belong to
    size_t next;    // (n_time,)
    size_t own;     // three of the size of `window`: what a series needs that goes alone
    size_t end;

    Layout(const FftGrid& grid, size_t n_time, size_t n_freq) {
        const size_t block = grid.plan.n_row * row_size<Floats>, shared = work_blocks(grid), each = grid.n_residue + 1;
        work = panel_blocks * block;
        buffer = work + (shared > each ? shared : each) * block;
        window = rounded(buffer + grid.plan.n_buffer * row_size<Floats>);
        tables = window + rounded(4 * (size_t(grid.n_fft) / 2 + 1));
        weights = tables + rounded(8 * n_freq);
        next = weights + rounded(n_time);
        own = next + rounded(n_time);
        end = own + 3 * (tables - window);
    }
};

struct Scratch {
    float* panel;
    float* work;
    float* buffer;
    double* window;
    float* tables;
    float* weights;
    float* next;
    double* own;

    Scratch(float* p, const Layout& at)
        : panel(p + at.panel), work(p + at.work), buffer(p + at.buffer),
          window(reinterpret_cast<double*>(p + at.window)), tables(p + at.tables), weights(p + at.weights),
          next(p + at.next), own(reinterpret_cast<double*>(p + at.own)) {}
};

// Elements 0 .. n_fft / 2 of a transform of real numbers, at any k.
struct Elements {
    const double* values; // complex
    size_t n_fft;

    Complex<double> at(size_t k) const {
        k %= n_fft;
        const bool upper = k > n_fft / 2;
        const double* const w = values + 2 * (upper ? n_fft - k : k);
        return {w[0], upper ? -w[1] : w[1]};
    }

    // Of weights: their moments of the sine and cosine at k.
    Trigonometry<double> moments(size_t k) const {
        const double by = 1.0 / values[0];
        const Complex<double> once = at(k), twice = at(2 * k);
        return trigonometry(Complex<double>{once.re * by, once.im * by}, Complex<double>{twice.re * by, twice.im * by});
    }
};

// Transform of sample(j) in float64, residues in the lanes, to `out` (n_fft / 2 + 1,) complex.
template <class Sample>
Elements transform_wide(const LombScargleJob& job, const Scratch& scratch, const Sample& sample, double* out) {
    const FftGrid& grid = *job.grid;
    const FftPlan& plan = grid.plan;
    double* const block = reinterpret_cast<double*>(scratch.work);
    double* const buffer = reinterpret_cast<double*>(scratch.buffer);
    for (size_t first = 0; first < grid.n_residue; first += half) {
        const size_t n_lane = grid.n_residue - first < half ? grid.n_residue - first : half;
        for (size_t j = 0; j < plan.n; ++j) {
            const double x = j < job.n_time ? sample(j) : 0.0;
            double* const row = block + plan.place[j] * row_size<Doubles>;
            store_row<Doubles>(row, {Doubles{}, Doubles{}});
            for (size_t lane = 0; lane < n_lane; ++lane) {
                if (grid.n_residue == 1) {
                    row[lane] = x;
                } else {
                    const double* const phase = grid.phase.wide + 2 * ((first + lane) * plan.n_row + plan.place[j]);
                    row[lane] = x * phase[0];
                    row[lane + half] = x * phase[1];
                }
            }
        }
        transform_columns(plan, block);
        for (size_t group = 0; group < plan.n_group; ++group) {
            transform_group(plan, block, group, buffer);
        }
        for (size_t lane = 0; lane < n_lane; ++lane) {
            for (size_t k = first + lane, i = 0; k <= grid.n_fft / 2; k += grid.n_residue, ++i) {
                const double* const row = block + plan.row_of[i] * row_size<Doubles>;
                out[2 * k] = row[lane];
                out[2 * k + 1] = row[lane + half];
            }
        }
    }
    return {out, grid.n_fft};
}

// The weights that series share, with their transform and what follows from it.
struct Reference {
    const LombScargleJob& job;
    const Scratch& scratch;
    bool known = false;
    Elements window{scratch.window, job.grid->n_fft};

    // Takes the weights (n_time,) in scratch.next.
    void set() {
        if (known && __builtin_memcmp(scratch.weights, scratch.next, job.n_time * sizeof(float)) == 0) {
            return;
        }
        known = true;
        __builtin_memcpy(scratch.weights, scratch.next, job.n_time * sizeof(float));
        transform_wide(job, scratch, [&](size_t j) { return double(scratch.weights[j]); }, scratch.window);
        for (size_t k = 1; k <= job.n_freq; ++k) {
            const Axes axes = principal_axes(window.moments(k), least_shared);
            const Complex<double> once = window.at(k), twice = window.at(2 * k);
            float* const row = scratch.tables + 8 * (k - 1);
            row[0] = float(axes.a);
            row[1] = float(axes.b);
            row[2] = float(axes.c);
            row[3] = float(axes.d);
            row[4] = float(once.re);
            row[5] = float(once.im);
            row[6] = float(twice.re);
            row[7] = float(twice.im);
        }
    }

    double total() const { return scratch.window[0]; }
};

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
