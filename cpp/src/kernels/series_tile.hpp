// Tiles of neighbouring series, turned so that 16 values of one, a cache line, follow one another.
//
// Lines of `lanes` series at the same time stand together: what is written at a time lies in few pages of memory. As in
// tile.hpp, the next tile is copied a few rows at a time while this one is at work. Rows of frames often lie a
// power of two apart, where a cache keeps no more than 8 of them: so many are called ahead and turned at a time.
#pragma once

#include "pack.hpp"
#include "sort.hpp"
#include "statistics.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t tile_series = 256; // at most
constexpr size_t sample_rows = 64;
constexpr int chunk_rows = lanes < 8 ? lanes : 8;

// Both halves of the lanes in float64.
struct Wide {
    Doubles half[2];
};

STARSKOPE_INLINE Wide widened(Floats x) {
    return {{lower_half(x), upper_half(x)}};
}

STARSKOPE_INLINE Wide widened(Ints x) {
    HalfInts parts[2];
    __builtin_memcpy(parts, &x, sizeof x);
    return {{__builtin_convertvector(parts[0], Doubles), __builtin_convertvector(parts[1], Doubles)}};
}

constexpr size_t line = 16;                                // values of a series that follow one another
constexpr size_t line_stride = (size_t(lanes) + 1) * line; // and where the next ones are: no power of two

constexpr size_t n_lines(size_t n) {
    return (n + line - 1) / line;
}

// Of `lanes` series.
constexpr size_t column_size(size_t n_time) {
    return n_lines(n_time) * line_stride;
}

struct SeriesTile {
    const SeriesRows* rows;
    size_t first;  // series
    size_t n;      // of which so many are in the tile
    float* values; // columns of `lanes` series: lines of each; missing values and what pads the last line are NaN
    float* sample; // (n / lanes, sample_rows, lanes) keys of rows spread over time
    size_t n_sampled;
    size_t done;   // rows copied
    size_t called; // cache lines called ahead since the last chunk
    Ints n_valid[tile_series / lanes];
    Floats reference[tile_series / lanes]; // a value of each series
};

// One of the series' own values, or 0: a middle one of three, so that no single outlier is it.
STARSKOPE_INLINE Floats reference_of(const SeriesRows& rows, size_t first, size_t n) {
    Floats x[3];
    with_layout(rows, [&](auto swapped, auto plain) __attribute__((always_inline)) {
        for (size_t i = 0; i < 3; ++i) {
            x[i] = values<swapped.is, plain.is>(rows, (2 * i + 1) * rows.n_time / 6, first, n);
        }
    });
    const auto there = [](Floats v) __attribute__((always_inline)) { return (v - v) == 0.0f; };
    const Floats a = there(x[0]) ? x[0] : there(x[1]) ? x[1] : x[2];
    const Floats b = there(x[1]) ? x[1] : a, c = there(x[2]) ? x[2] : a;
    const Floats middle = greater(lesser(a, b), lesser(greater(a, b), c));
    return there(middle) ? middle : Floats{};
}

STARSKOPE_INLINE void start_tile(SeriesTile& tile, size_t first, size_t step) {
    const size_t n_series = tile.rows->n_series;
    tile.first = first;
    tile.n = first >= n_series ? 0 : n_series - first < step ? n_series - first : step;
    tile.done = tile.n_sampled = tile.called = 0;
    for (size_t v = 0; v * lanes < tile.n; ++v) {
        tile.n_valid[v] = Ints{};
        tile.reference[v] = reference_of(*tile.rows, first + v * lanes, tile.n - v * lanes);
    }
}

// Stores chunk_rows rows of `lanes` series.
STARSKOPE_INLINE void store_turned(float* to, Floats (&r)[chunk_rows]) {
    turn(r);
#pragma GCC unroll 8
    for (int i = 0; i < chunk_rows; ++i) {
#if defined(__AVX512F__)
        _mm256_storeu_ps(to + size_t(2 * i) * line, _mm512_castps512_ps256(r[i]));
        _mm256_storeu_ps(to + size_t(2 * i + 1) * line, _mm512_extractf32x8_ps(r[i], 1));
#else
        store(to + size_t(i) * line, r[i]);
#endif
    }
}

// Calls the next cache line of the chunk behind the one that is copied next, into the second cache. One at a time: some
// two dozen can be on their way.
STARSKOPE_INLINE void call_line(SeriesTile& tile) {
    const size_t row = tile.done + size_t(chunk_rows) + tile.called % size_t(chunk_rows);
    const size_t at = tile.called / size_t(chunk_rows) * line;
    if (at < tile.n && row < tile.rows->n_time) {
        __builtin_prefetch(tile.rows->row[row] + (tile.first + at) * sizeof(float), 0, 2);
    }
    ++tile.called;
}

template <bool swapped, bool plain>
STARSKOPE_INLINE void sample_rows_until(SeriesTile& tile, size_t stop) {
    const SeriesRows& rows = *tile.rows;
    for (; tile.n_sampled < sample_rows; ++tile.n_sampled) {
        const size_t row = tile.n_sampled * rows.n_time / sample_rows;
        if (row >= stop) {
            return;
        }
        for (size_t v = 0; v * lanes < tile.n; ++v) {
            const Floats x = values<swapped, plain>(rows, row, tile.first + v * lanes, tile.n - v * lanes);
            const Ints there = (x - x) == 0.0f;
            store(tile.sample + (v * sample_rows + tile.n_sampled) * lanes,
                  key_of(there ? x : splat(__builtin_nanf(""))));
        }
    }
}

// Copies up to chunk_rows more rows.
static void copy_chunk(SeriesTile& tile) {
    const SeriesRows& rows = *tile.rows;
    const size_t t = tile.done, left = rows.n_time - t, size = column_size(rows.n_time);
    tile.called = 0;
    if (tile.n == 0 || left == 0) {
        return;
    }
    const size_t n_row = left < size_t(chunk_rows) ? left : size_t(chunk_rows);
    float* to = tile.values + t / line * line_stride + t % line;
    with_layout(rows, [&](auto swapped, auto plain) __attribute__((always_inline)) {
        for (size_t v = 0; v * lanes < tile.n; ++v, to += size) {
            Floats r[chunk_rows];
            Ints missing{}; // bits of NaN, where one is
#pragma GCC unroll 8
            for (size_t k = 0; k < size_t(chunk_rows); ++k) {
                r[k] = splat(__builtin_nanf(""));
                if (k < n_row) {
                    r[k] = values<swapped.is, plain.is>(rows, t + k, tile.first + v * lanes, tile.n - v * lanes);
                }
                missing |= (Ints)(r[k] - r[k]);
            }
            Ints n_valid = tile.n_valid[v] + chunk_rows;
            if (any(missing)) {
#pragma GCC unroll 8
                for (Floats& x : r) {
                    const Ints none = (x - x) != 0.0f;
                    n_valid += none;
                    x = none ? splat(__builtin_nanf("")) : x;
                }
            }
            tile.n_valid[v] = n_valid;
            store_turned(to, r);
        }
        sample_rows_until<swapped.is, plain.is>(tile, t + n_row);
    });
    tile.done = t + n_row;
    if (n_row == left) {
        for (size_t i = 0; i < tile.n; ++i) {
            float* const last =
                tile.values + i / lanes * size + (rows.n_time - 1) / line * line_stride + i % lanes * line;
            for (size_t k = (rows.n_time - 1) % line + 1; k < line; ++k) {
                last[k] = __builtin_nanf("");
            }
        }
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
