// Panels whose series are transformed as they come from memory: the first butterflies read them, and while one column
// is transformed the next ones are called into cache. Neither mean nor scatter is known by then: the mean is taken off
// the spectrum, where it is a multiple of the window's own, and the scatter is guessed from some rows.
//
// Refuses what must be seen whole first: missing values, and series whose scatter was guessed wrong by far.
#pragma once

#include "fft_stages.hpp"
#include "series.hpp"
#include "spectra_jobs.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t rows_of_a_guess = 16;
constexpr double far = 64.0; // a guess of the scatter this many times off costs digits of a fainter neighbour

// Sample that a row takes, and the one that will be taken some butterflies later.
struct Visit {
    uint32_t now, later;
};

// In the order of the rows (n_row,): how the columns of a plan come past.
void plan_visits(const FftPlan& plan, Visit* visits) {
    constexpr size_t later = 48;
    uint32_t recent[later] = {};
    for (size_t j = 0; j < plan.n; ++j) {
        visits[plan.place[j]] = {uint32_t(j), uint32_t(j)};
    }
    const FftStage& stage = plan.split.columns.stage[0];
    size_t n = 0;
    for (size_t column = 0; column < plan.split.n_column; ++column) {
        for (size_t t = 0; t < stage.inner; ++t) {
            for (size_t i = 0; i < stage.radix; ++i, ++n) {
                const uint32_t row = plan.split.starts[column] + uint32_t((t + i * stage.inner) * plan.split.stride);
                if (n >= later) {
                    visits[recent[n % later]].later = visits[row].now;
                }
                recent[n % later] = row;
            }
        }
    }
}

// Rows of one block straight from memory, with their sums about the reference.
struct Straight {
    const float* data;
    size_t stride;
    const Visit* visits;
    const float* window; // by row
    Complex<Floats> reference, scale;
    mutable Complex<Floats> sum, squares;

    __attribute__((always_inline)) Complex<Floats> operator()(const float*, size_t row) const {
        const Visit visit = visits[row];
        const float* const from = data + size_t(visit.now) * stride;
        const float* const later = data + size_t(visit.later) * stride;
#pragma GCC unroll 2
        for (size_t at = 0; at < block_series; at += 16) {
            __builtin_prefetch(later + at, 0, 2);
        }
        __builtin_prefetch(later + block_series - 1, 0, 2); // another line where rows begin within one
        const Complex<Floats> d = load_row<Floats>(from) - reference;
        sum = sum + d;
        squares = {multiply_add(d.re, d.re, squares.re), multiply_add(d.im, d.im, squares.im)};
        const Floats w = splat(window[row]);
        return {d.re * scale.re * w, d.im * scale.im * w};
    }
};

// 2^-e with 2^e near the scatter of each series about its reference, from some of its rows.
void guess_scales(const Rows& rows, const float* reference, size_t n_series, float* scale) {
    for (size_t at = 0; at < n_series; at += lanes) {
        Floats squares{};
        for (size_t i = 0; i < rows_of_a_guess; ++i) {
            const size_t j = i * rows.n_time / rows_of_a_guess;
            const Floats d = load<Floats>(rows.data + j * rows.stride + at) - load<Floats>(reference + at);
            squares = multiply_add(d, d, squares);
        }
        for (size_t lane = 0; lane < size_t(lanes); ++lane) {
            scale[at + lane] = float(inverse_scale(__builtin_sqrt(double(squares[lane]) / double(rows_of_a_guess))));
        }
    }
}

// Transforms the columns of a panel of n series, a multiple of block_series, and takes its moments; `scale` (n,) is
// what they were multiplied by. False where the series must be seen whole first; the panel holds nothing then.
bool take_straight(const SpectrumJob& job, const Rows& rows, size_t n, const Visit* visits, double gain, Panel& panel,
                   float* scale) {
    const FftPlan& plan = *panel.plan;
    panel.n_series = n;
    panel.gaps = false;
    panel.moments = {};
    PanelMoments& moments = panel.moments;
    for (size_t i = 0; i < n; ++i) {
        moments.reference[i] = reference_of(rows, i);
        moments.count[i] = double(rows.n_time);
        moments.gain[i] = gain;
    }
    guess_scales(rows, moments.reference, n, scale);
    const FftTile& tile = plan.split.columns;
    bool whole = true;
    for_columns<Floats>(plan.split, [&](const FftLines& lines, const float* last) {
        for (size_t at = 0; at < n && whole; at += block_series) {
            float* const block = panel.blocks + at / block_series * panel.block_size;
            const Straight source{rows.data + at,
                                  rows.stride,
                                  visits,
                                  job.window_rows,
                                  load_row<Floats>(moments.reference + at),
                                  load_row<Floats>(scale + at),
                                  {Floats{}, Floats{}},
                                  {Floats{}, Floats{}}};
            forward_stage<Floats>(tile.stage[0], block, lines, last, source);
            forward_stages(tile, 1, block, lines, last);
            const Floats sum = source.sum.re + source.sum.im, squares = source.squares.re + source.squares.im;
            whole = !any(Longs((sum - sum != 0.0f) | (squares - squares != 0.0f)));
            add_wide(moments.sum + at, source.sum.re);
            add_wide(moments.sum + at + lanes, source.sum.im);
            add_wide(moments.squares + at, source.squares.re);
            add_wide(moments.squares + at + lanes, source.squares.im);
        }
    });
    for (size_t i = 0; i < n && whole; ++i) {
        const double scatter = __builtin_sqrt(panel.square(i, panel.mean(i))) * double(scale[i]);
        whole = moments.squares[i] > 1e-30 * moments.count[i] && scatter > 1.0 / far && scatter < far;
    }
    return whole;
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
