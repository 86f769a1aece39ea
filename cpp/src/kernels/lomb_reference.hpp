// The weights that series share in a Lomb-Scargle periodogram, and their transform in float64.
#pragma once

#include "lomb_gridding.hpp"
#include "panel_transform.hpp"
#include "sine_fit.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t least_points = 4;
// Where the smaller moment is below this, float32 sums lose too many digits: they are taken point by point in float64.
constexpr double least_shared = 0.02;

STARSKOPE_INLINE size_t rounded(size_t n) {
    return (n + 15) / 16 * 16;
}

STARSKOPE_INLINE size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

// Where the parts of the scratch memory begin, in floats.
struct Layout {
    size_t panel = 0; // panel_blocks of n_time rows
    size_t errors;    // the same of the weights of each series
    size_t block;     // of the transform
    size_t buffer;
    size_t band;
    size_t window;   // (n_fft / 2 + 1,) complex float64: transform of the weights that series share
    size_t tables;   // (n_freq, 4): axes
    size_t exact;    // (n_freq,) numbers of the rows that float64 sums give
    size_t weights;  // (n_time,): what window and tables belong to
    size_t lifted;   // (n_time,): the same times the lift
    size_t next;     // (n_time,)
    size_t elements; // (n_fft / 2 + 1, lanes) complex: transforms of weights of their own
    size_t end;

    Layout(const LombGrid& grid, size_t n_time, size_t n_freq, bool own_weights) {
        const FftPlan &fine = grid.fine->plan, &exact_plan = grid.exact->plan;
        const size_t rows = panel_blocks * n_time * row_size<Floats>, n_row = size_t(grid.exact->n_fft) / 2 + 1;
        errors = panel + rows;
        block = errors + (own_weights ? rows : 0);
        buffer = block + larger(fine.n_row, exact_plan.n_row) * row_size<Floats>;
        band = buffer + larger(fine.n_buffer, exact_plan.n_buffer) * row_size<Floats>;
        window = band + band_rows * band_row;
        tables = window + rounded(4 * n_row);
        exact = tables + rounded(4 * n_freq);
        weights = exact + rounded(n_freq);
        lifted = weights + rounded(n_time);
        next = lifted + rounded(n_time);
        elements = next + rounded(n_time);
        end = elements + n_row * row_size<Floats>;
    }
};

struct Scratch {
    float* panel;
    float* errors;
    float* block;
    float* buffer;
    float* band;
    double* window;
    float* tables;
    uint32_t* exact;
    float* weights;
    float* lifted;
    float* next;
    float* elements;

    Scratch(float* p, const Layout& at)
        : panel(p + at.panel), errors(p + at.errors), block(p + at.block), buffer(p + at.buffer), band(p + at.band),
          window(reinterpret_cast<double*>(p + at.window)), tables(p + at.tables),
          exact(reinterpret_cast<uint32_t*>(p + at.exact)), weights(p + at.weights), lifted(p + at.lifted),
          next(p + at.next), elements(p + at.elements) {}
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
};

// Transform of sample(j) in float64, residues in the lanes, to `out` (n_fft / 2 + 1,) complex.
template <class Sample>
Elements transform_wide(const LombScargleJob& job, const Scratch& scratch, const Sample& sample, double* out) {
    const FftGrid& grid = *job.grid->exact;
    const FftPlan& plan = grid.plan;
    double* const block = reinterpret_cast<double*>(scratch.block);
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
    size_t n_exact = 0;
    Elements window{scratch.window, job.grid->exact->n_fft};

    // Takes the weights (n_time,) in scratch.next.
    void set() {
        if (known && __builtin_memcmp(scratch.weights, scratch.next, job.n_time * sizeof(float)) == 0) {
            return;
        }
        known = true;
        n_exact = 0;
        for (size_t j = 0; j < job.n_time; ++j) {
            scratch.weights[j] = scratch.next[j];
            scratch.lifted[j] = scratch.next[j] * job.grid->lift[j];
        }
        transform_wide(job, scratch, [&](size_t j) { return double(scratch.weights[j]); }, scratch.window);
        const size_t centre = job.n_time / 2;
        Turns turns(0, centre, window.n_fft); // their conjugates lead from sample 0 to the centre
        for (size_t k = 1; k <= job.n_freq; ++k) {
            turns.next();
            if (k % 64 == 0) { // or their rounding errors would pass for a moment where there is none
                turns = Turns(centre * k % window.n_fft, centre, window.n_fft);
            }
            const Trigonometry<double> t = moments(k, {turns.re, -turns.im});
            const Axes axes = principal_axes(t);
            float* const row = scratch.tables + 4 * (k - 1);
            row[0] = float(axes.a);
            row[1] = float(axes.b);
            row[2] = float(axes.c);
            row[3] = float(axes.d);
            if (t.cc * t.ss - t.cs * t.cs < least_shared * (t.cc + t.ss) * (t.cc + t.ss)) {
                scratch.exact[n_exact++] = uint32_t(k);
            }
        }
    }

    // Of the weights about the centre, which a turn leads to.
    Trigonometry<double> moments(size_t k, Complex<double> turn) const {
        const double by = 1.0 / total();
        const Complex<double> w = window.at(k), twice = window.at(2 * k);
        const Complex<double> turn2{turn.re * turn.re - turn.im * turn.im, 2.0 * turn.re * turn.im};
        return trigonometry(
            Complex<double>{(w.re * turn.re - w.im * turn.im) * by, (w.re * turn.im + w.im * turn.re) * by},
            Complex<double>{(twice.re * turn2.re - twice.im * turn2.im) * by,
                            (twice.re * turn2.im + twice.im * turn2.re) * by});
    }

    double total() const { return scratch.window[0]; }
};

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
