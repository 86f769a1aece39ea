// A column of a tile that is searched rather than sorted: its passes.
#pragma once

#include "sort.hpp"
#include "tile.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr float largest_float = __FLT_MAX__;
constexpr size_t sample_rows = 64;

constexpr size_t padded_rows(size_t n_time) {
    return (n_time + run_rows - 1) / run_rows * run_rows;
}

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

// The next float32 towards negative infinity, which is its own.
STARSKOPE_INLINE float below(float x) {
    int32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    bits = x > 0.0f ? bits - 1 : x == 0.0f ? int32_t(0x80000001u) : x >= -largest_float ? bits + 1 : bits;
    __builtin_memcpy(&x, &bits, sizeof bits);
    return x;
}

// Smallest float32 not below x, largest not above it: what is compared with them is compared with x.
STARSKOPE_INLINE float not_below(double x) {
    const float near = float(x);
    return double(near) < x ? -below(-near) : near;
}

STARSKOPE_INLINE float not_above(double x) {
    const float near = float(x);
    return double(near) > x ? below(near) : near;
}

// `lanes` series of a job and the memory to work on them.
struct Column {
    const ClipJob& job;
    size_t first; // series
    size_t n;     // of which so many exist
    size_t n_row; // n_time
    const float* values;
    float* rows;   // copies of some rows
    float* sorted; // of all rows, where that was needed; rows that reach into a window before
    bool is_sorted;
    Ints n_valid;
    Tile& next; // to be copied meanwhile
};

// The value whose key stands in `row` of each lane.
STARSKOPE_INLINE Floats at_rows(const float* keys, Ints row) {
    Floats x;
    for (int i = 0; i < lanes; ++i) {
        x[i] = keys[row[i] * lanes + i];
    }
    return value_of((Ints)x);
}

// 64 rows spread over time, sorted. Returns how many values of each lane are there.
Ints take_sample(const Column& column, float* sample) {
    Ints n_valid{};
    for (size_t i = 0; i < sample_rows; ++i) {
        const Floats x = load<Floats>(column.values + i * column.n_row / sample_rows * lanes);
        n_valid = count_at_most(n_valid, x, splat(largest_float));
        store(sample + i * lanes, key_of(x));
    }
    sort_rows(sample, sample_rows);
    return n_valid;
}

struct Moments {
    Wide reference, sum, squares, summed;
};

struct Pivots {
    Floats low, high;
    Ints at_most_low, at_most_high;
};

// Sums a column about `reference` and counts what the pivots ask, while the next tile is copied.
void sum_column(Column& column, Floats reference, Moments& moments, Pivots& pivots) {
    const Wide about = widened(reference);
    Wide sum{}, squares{};
    Ints low{}, high{};
    for (size_t t = 0; t < column.n_row; ++t) {
        if (t % 16 == 0) {
            copy_rows<false>(column.next, 2);
        }
        const Floats x = load<Floats>(column.values + t * lanes);
        low = count_at_most(low, x, pivots.low);
        high = count_at_most(high, x, pivots.high);
        const Wide d = widened(x == x ? x : reference);
        for (int h = 0; h < 2; ++h) {
            const Doubles deviation = d.half[h] - about.half[h];
            sum.half[h] += deviation;
            squares.half[h] += deviation * deviation;
        }
    }
    pivots.at_most_low = low;
    pivots.at_most_high = high;
    moments = {about, sum, squares, squares};
}

// Counts what lies at or below two pivots, while the next tile is copied.
void count_column(const Column& column, Pivots& pivots) {
    Ints low{}, high{}, odd_low{}, odd_high{};
    size_t t = 0;
    for (; t + 1 < column.n_row; t += 2) {
        if (t % 16 == 0) {
            copy_rows<false>(column.next, 2);
        }
        const Floats x = load<Floats>(column.values + t * lanes), y = load<Floats>(column.values + (t + 1) * lanes);
        low = count_at_most(low, x, pivots.low);
        high = count_at_most(high, x, pivots.high);
        odd_low = count_at_most(odd_low, y, pivots.low);
        odd_high = count_at_most(odd_high, y, pivots.high);
    }
    if (t < column.n_row) {
        const Floats x = load<Floats>(column.values + t * lanes);
        low = count_at_most(low, x, pivots.low);
        high = count_at_most(high, x, pivots.high);
    }
    pivots.at_most_low = low + odd_low;
    pivots.at_most_high = high + odd_high;
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
