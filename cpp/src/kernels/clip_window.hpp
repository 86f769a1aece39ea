// The search for a few neighbouring ranks of every lane of a column: brackets, and the window that they lead to.
#pragma once

#include "clip_column.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t window_rows = 32;
constexpr int rank_margin = 3; // ranks on either side of the median that the window shall hold too
constexpr int interpolated_passes = 2;
constexpr int most_passes = 20;

// (lo, hi] holds the values of ranks [below, upto).
struct Bracket {
    Floats lo, hi;
    Ints below, upto;
};

struct Window {
    float* values; // (window_rows, lanes) sorted: ranks [below, below + window_rows), as far as the bracket goes
    Ints below, upto;
};

// Narrows the bracket by a pivot where it still holds ranks [from, to].
STARSKOPE_INLINE void narrow(Bracket& bracket, Floats pivot, Ints at_most, Ints from, Ints to) {
    const Ints inside = (pivot > bracket.lo) & (pivot < bracket.hi);
    const Ints raise = inside & (at_most <= from), lower = inside & (at_most > to);
    bracket.lo = raise ? pivot : bracket.lo;
    bracket.below = raise ? at_most : bracket.below;
    bracket.hi = lower ? pivot : bracket.hi;
    bracket.upto = lower ? at_most : bracket.upto;
}

// Pivots around ranks [from, to], by interpolation in the bracket, as far out as the noise of counts asks.
STARSKOPE_INLINE void interpolate(const Bracket& bracket, Ints from, Ints to, Pivots& pivots) {
    const Floats n = __builtin_convertvector(bracket.upto - bracket.below, Floats);
    Floats spread;
    for (int i = 0; i < lanes; ++i) {
        spread[i] = 1.25f * __builtin_sqrtf(n[i]) + 1.0f;
    }
    const Floats width = bracket.hi - bracket.lo;
    const Floats low = (__builtin_convertvector(from - bracket.below, Floats) - spread) / n;
    const Floats high = (__builtin_convertvector(to - bracket.below, Floats) + spread) / n;
    pivots.low = low > 0.0f ? bracket.lo + low * width : bracket.lo;
    pivots.high = high < 1.0f ? bracket.lo + high * width : bracket.hi;
}

// Draws the ends of the brackets to the values within; halves what is left. Returns the lanes that hold one value only.
Ints halve(const Column& column, Bracket& bracket, Pivots& pivots) {
    Floats smallest = splat(__builtin_inff()), largest = splat(-__builtin_inff());
    for (size_t t = 0; t < column.n_row; ++t) {
        const Floats x = load<Floats>(column.values + t * lanes);
        const Ints inside = (x > bracket.lo) & (x <= bracket.hi);
        smallest = inside ? lesser(smallest, x) : smallest;
        largest = inside ? greater(largest, x) : largest;
    }
    const Ints holds = smallest <= largest;
    bracket.hi = holds ? largest : bracket.hi;
    const Floats middle = 0.5f * smallest + 0.5f * largest;
    pivots.low = middle < largest ? middle : smallest;
    pivots.high = pivots.low;
    return smallest == largest;
}

// The window_rows smallest values above the lower end of the bracket, as far as they lie in it.
void fill_window(const Column& column, const Bracket& bracket, Ints single, Window& window) {
    const Floats missing = splat(__builtin_nanf(""));
    float* end = column.sorted;
    for (size_t t = 0; t < column.n_row; ++t) {
        const Floats x = load<Floats>(column.values + t * lanes);
        const Ints inside = (x > bracket.lo) & (x <= bracket.hi) & ~single;
        store(end, inside ? x : missing);
        end += any(inside) ? lanes : 0;
    }
    float* const kept = window.values;
    for (size_t i = 0; i < window_rows; ++i) {
        store(kept + i * lanes, Ints{} + greatest_key);
    }
    for (size_t i = 0; i < run_rows; ++i) {
        store(end + i * lanes, missing);
    }
    for (const float* run = column.sorted; run < end; run += run_rows * lanes) {
        Ints r[run_rows];
#pragma GCC unroll 16
        for (size_t k = 0; k < run_rows; ++k) {
            r[k] = key_of(load<Floats>(run + k * lanes));
        }
        sort_registers(r);
        // The lesser ones of the window's last rows and the run make a bitonic sequence of the window.
#pragma GCC unroll 16
        for (size_t k = 0; k < run_rows; ++k) {
            float* const row = kept + (window_rows - 1 - k) * lanes;
            store(row, lesser(load<Ints>(row), r[k]));
        }
        if constexpr (max_stages == 4) {
            merge_next<4>(kept, 2, window_rows);
            merge_next<1>(kept, 1, window_rows);
        } else {
            merge_next<3>(kept, 4, window_rows);
            merge_next<2>(kept, 1, window_rows);
        }
    }
    if (any(single)) {
        for (size_t i = 0; i < window_rows; ++i) {
            store(kept + i * lanes, single ? key_of(bracket.hi) : load<Ints>(kept + i * lanes));
        }
    }
    window.below = bracket.below;
    const Ints reach = bracket.below + int32_t(window_rows);
    window.upto = single | (reach > bracket.upto) ? bracket.upto : reach;
}

// Lanes in which the bracket leads to a window with ranks [from, to].
STARSKOPE_INLINE Ints reached(const Bracket& bracket, Ints from, Ints to) {
    return (bracket.below <= from) & (to < bracket.below + int32_t(window_rows)) & (to < bracket.upto);
}

void sort_column(Column& column) {
    const size_t n_row = padded_rows(column.n_row);
    for (size_t t = 0; t < n_row; ++t) {
        store(column.sorted + t * lanes,
              t < column.n_row ? key_of(load<Floats>(column.values + t * lanes)) : Ints{} + greatest_key);
    }
    sort_rows(column.sorted, n_row);
    column.is_sorted = true;
}

// Finds a window with ranks [from, to] in the bracket (which holds them), or sorts the column.
void find_window(Column& column, Bracket bracket, Ints from, Ints to, Window& window) {
    Ints single{}; // lanes whose bracket holds one value, repeated
    for (int pass = 0; pass < most_passes; ++pass) {
        if (!any(~(reached(bracket, from, to) | single))) {
            fill_window(column, bracket, single, window);
            return;
        }
        Pivots pivots;
        const Ints open = ~reached(bracket, from, to) & ((bracket.lo < -largest_float) | (bracket.hi == largest_float));
        if (any(open) || (pass >= interpolated_passes && pass % 2 == 0)) {
            single |= halve(column, bracket, pivots);
        } else {
            interpolate(bracket, from, to, pivots);
        }
        count_column(column, pivots);
        narrow(bracket, pivots.low, pivots.at_most_low, from, to);
        narrow(bracket, pivots.high, pivots.at_most_high, from, to);
    }
    sort_column(column);
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
