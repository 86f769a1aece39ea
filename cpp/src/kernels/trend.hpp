// What is taken off a panel of series beside their means, and what their windows weigh: in passes over its rows, while
// missing values are NaN there.
#pragma once

#include "series.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Calls each(block of floats, j) for the rows of every block, some at a time, and end(b) after each lot.
template <class Each, class End>
STARSKOPE_INLINE void for_panel_rows(const Panel& panel, size_t n_time, const Each& each, const End& end) {
    for (size_t b = 0; b * block_series < panel.n_series; ++b) {
        float* const block = panel.blocks + b * panel.block_size;
        for (size_t begin = 0; begin < n_time; begin += chunk_rows) {
            for (size_t j = begin; j < n_time && j < begin + chunk_rows; ++j) {
                each(block + panel.plan->place[j] * row_size<Floats>, j);
            }
            end(b * block_series);
        }
    }
}

// Values of a row that are there, 0 for the others.
STARSKOPE_INLINE Complex<Floats> values_there(Complex<Floats> x) {
    return {x.re == x.re ? x.re : Floats{}, x.im == x.im ? x.im : Floats{}};
}

// `value` where a row has a point, else 0.
STARSKOPE_INLINE Complex<Floats> where_there(Complex<Floats> x, Floats value) {
    return {x.re == x.re ? value : Floats{}, x.im == x.im ? value : Floats{}};
}

STARSKOPE_INLINE Complex<Floats> product(Complex<Floats> a, Complex<Floats> b) {
    return {a.re * b.re, a.im * b.im};
}

// Adds the sums of a lot of rows to those of series `at` on, and begins anew.
STARSKOPE_INLINE void move_sums(Complex<Floats>& sum, double* to) {
    add_wide(to, sum.re);
    add_wide(to + lanes, sum.im);
    sum = {Floats{}, Floats{}};
}

// Takes the straight line that fits its points best off every series.
void take_lines_off(Panel& panel, size_t n_time) {
    alignas(64) double time[panel_series] = {}, squares[panel_series] = {}, products[panel_series] = {};
    const double middle = 0.5 * double(n_time - 1), unit = middle > 0.0 ? 1.0 / middle : 0.0;
    const auto time_of = [&](size_t j) { return splat(float((double(j) - middle) * unit)); }; // -1 to 1
    Complex<Floats> t{}, tt{}, tx{};
    for_panel_rows(
        panel, n_time,
        [&](const float* row, size_t j) __attribute__((always_inline)) {
            const Complex<Floats> x = load_row<Floats>(row), at = where_there(x, time_of(j));
            t = t + at;
            tt = tt + product(at, at);
            tx = tx + product(at, values_there(x));
        },
        [&](size_t first) {
            move_sums(t, time + first);
            move_sums(tt, squares + first);
            move_sums(tx, products + first);
        });
    PanelMoments& moments = panel.moments;
    alignas(64) float level[panel_series], slope[panel_series];
    for (size_t i = 0; i < panel_series; ++i) {
        const double n = moments.count[i] > 0.0 ? moments.count[i] : 1.0;
        const double spread = squares[i] - time[i] * time[i] / n;
        const double rise = spread > 1e-9 * squares[i] ? (products[i] - time[i] * moments.sum[i] / n) / spread : 0.0;
        slope[i] = float(rise);
        level[i] = float((moments.sum[i] - rise * time[i]) / n);
        moments.sum[i] = moments.squares[i] = 0.0;
    }
    Complex<Floats> sum{}, square{};
    for_panel_rows(
        panel, n_time,
        [&](float* row, size_t j) __attribute__((always_inline)) {
            const size_t first = size_t(row - panel.blocks) / panel.block_size * block_series;
            const Complex<Floats> x = load_row<Floats>(row), a = load_row<Floats>(level + first),
                                  b = load_row<Floats>(slope + first);
            const Floats at = time_of(j);
            const Complex<Floats> d{x.re - a.re - b.re * at, x.im - a.im - b.im * at};
            store_row<Floats>(row, d);
            const Complex<Floats> there = values_there(d);
            sum = sum + there;
            square = square + product(there, there);
        },
        [&](size_t first) {
            move_sums(sum, moments.sum + first);
            move_sums(square, moments.squares + first);
        });
}

// Sums of the squares of the window over the points of every series.
void window_squares(const Panel& panel, const float* window, size_t n_time, double* squares) {
    Complex<Floats> sum{};
    for_panel_rows(
        panel, n_time,
        [&](const float* row, size_t j) __attribute__((always_inline)) {
            sum = sum + where_there(load_row<Floats>(row), splat(window[j] * window[j]));
        },
        [&](size_t first) { move_sums(sum, squares + first); });
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
