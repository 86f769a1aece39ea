// Tiles: a few neighbouring series, copied into columns of `lanes` series each, whose rows follow one another.
//
// The next tile is copied a few rows at a time while this one is at work: rows of frames often lie a power of two
// apart, where a cache keeps no more than 8 of them, so that calling a whole tile ahead of time would be in vain.
#pragma once

#include "frames.hpp"
#include "sort.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t tile_series = 64;
constexpr size_t rows_ahead = 6; // called while earlier rows are copied

struct Tile {
    const SeriesRows* rows;
    size_t first;                     // series
    size_t n;                         // of which so many are in the tile
    float* values;                    // columns of n_row rows
    size_t n_row;                     // n_time and what is padded
    size_t done;                      // rows copied
    Ints counts[tile_series / lanes]; // values that are there, per series
};

STARSKOPE_INLINE void start_tile(Tile& tile, size_t first, size_t step) {
    const size_t n_series = tile.rows->n_series;
    tile.first = first;
    tile.n = first >= n_series ? 0 : n_series - first < step ? n_series - first : step;
    tile.done = 0;
    for (Ints& count : tile.counts) {
        count = Ints{};
    }
}

// Copies up to n more rows, as values or as keys to sort; missing values become NaN.
template <bool keys>
STARSKOPE_INLINE void copy_rows(Tile& tile, size_t n) {
    const SeriesRows& rows = *tile.rows;
    const size_t left = rows.n_time - tile.done, stop = tile.done + (n < left ? n : left);
    if (tile.n == 0 || tile.done == stop) {
        return;
    }
    const size_t n_vector = (tile.n + lanes - 1) / lanes;
    with_layout(rows, [&](auto swapped, auto plain) __attribute__((always_inline)) {
        for (size_t t = tile.done; t < stop; ++t) {
            if (t + rows_ahead < rows.n_time) {
                const unsigned char* const line = rows.row[t + rows_ahead] + tile.first * sizeof(float);
                for (size_t byte = 0; byte < tile.n * sizeof(float); byte += 64) {
                    __builtin_prefetch(line + byte);
                }
            }
            float* to = tile.values + t * lanes;
            for (size_t v = 0; v < n_vector; ++v, to += tile.n_row * lanes) {
                const Floats x = values<swapped.is, plain.is>(rows, t, tile.first + v * lanes, tile.n - v * lanes);
                const Ints there = (x - x) == 0.0f;
                tile.counts[v] -= there;
                const Floats known = there ? x : splat(__builtin_nanf(""));
                if constexpr (keys) {
                    store(to, key_of(known));
                } else {
                    store(to, known);
                }
            }
        }
    });
    tile.done = stop;
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
