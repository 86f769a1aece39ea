// The core of a series that lies in the cache: a sample tells where the middle and the tails are, and one pass sums
// what no round of clipping will touch and sets the rest aside.
#pragma once

#include "selection.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t partial_sums = 8; // the same on every instruction set, so that sums are
constexpr size_t row_parts = block / size_t(lanes);
constexpr size_t rows_per_sum = 16;  // rows of a block's width whose squares are added in float32
constexpr size_t fewest_rows = 9;    // of which a sample is taken
constexpr float widest_core = 1e15f; // float32 squares neither overflow nor vanish between these
constexpr float narrowest_core = 1e-12f;

// A row of `block` values.
struct Row {
    Floats part[row_parts];
};

STARSKOPE_INLINE Row row_at(const float* x) {
    Row row;
    __builtin_memcpy(&row, x, sizeof row);
    return row;
}

// The least and the middle of three.
struct Two {
    Row least;
    Row middle;
};

STARSKOPE_INLINE Two two_of(const Row& a, const Row& b, const Row& c) {
    Two two;
#pragma GCC unroll 4
    for (size_t p = 0; p < row_parts; ++p) {
        const Floats low = lesser(a.part[p], b.part[p]), high = greater(a.part[p], b.part[p]);
        two.least.part[p] = lesser(low, c.part[p]);
        two.middle.part[p] = greater(low, lesser(high, c.part[p]));
    }
    return two;
}

STARSKOPE_INLINE Two middle_of(const Two& a, const Two& b, const Two& c) {
    return {two_of(a.least, b.least, c.least).middle, two_of(a.middle, b.middle, c.middle).middle};
}

STARSKOPE_INLINE double added(const Row& row) {
    float v[block];
    __builtin_memcpy(v, &row, sizeof v);
    double sum = 0.0;
    for (size_t i = 0; i < block; ++i) {
        sum += double(v[i]);
    }
    return sum;
}

// Where values are looked for: within `window` of the centre lie the medians of all rounds, and beyond `core` of it
// what rounds may clip. A guess: where it is wrong another one is made.
struct Guess {
    float centre;
    float window;
    float core; // below 0: there is no guess
};

constexpr Guess no_guess{0.0f, 0.0f, -1.0f};

STARSKOPE_INLINE Guess checked_guess(double centre, double window, double core) {
    const bool is_sound = core == 0.0 || (core > double(narrowest_core) && core < double(widest_core));
    return is_sound ? Guess{float(centre), float(window), float(core)} : no_guess;
}

// From the medians of 27, taken three at a time, and from such medians of the least of three, 0.82 sigma below: stars,
// which are above the sky, reach neither.
STARSKOPE_INLINE Guess sampled_guess(const float* x, size_t n) {
    const size_t n_row = n / block;
    if (n_row < fewest_rows) {
        return no_guess;
    }
    // Neighbours on the sky go to different threes.
    const auto row = [&](size_t k) __attribute__((always_inline)) { return row_at(x + k * n_row / 27 * block); };
    const auto three = [&](size_t k) __attribute__((always_inline)) { return two_of(row(k), row(k + 9), row(k + 18)); };
    const auto nine = [&](size_t k)
                          __attribute__((always_inline)) { return middle_of(three(k), three(k + 3), three(k + 6)); };
    const Two found = middle_of(nine(0), nine(1), nine(2));
    const double middle = added(found.middle) / double(block),
                 sigma = (middle - added(found.least) / double(block)) / 0.82;
    // Clipping stars lowers the median by a tenth of sigma or two.
    return checked_guess(middle - 0.1 * sigma, 0.27 * sigma, 2.3 * sigma);
}

struct Sums {
    double value;
    double square;
};

// Sums of the deviations from a centre and of their squares; NaN does not count. n: whole blocks.
STARSKOPE_INLINE Sums sums_about(const float* x, size_t n, double centre) {
    constexpr size_t parts = partial_sums / half;
    Doubles sum[parts]{}, squares[parts]{};
    const Doubles c = splat_double(centre);
    for (size_t i = 0; i < n; i += partial_sums) {
#pragma GCC unroll 4
        for (size_t p = 0; p < parts; ++p) {
            Doubles d = load_doubles(x + i + p * half) - c;
            d = d == d ? d : Doubles{};
            sum[p] += d;
            squares[p] += d * d;
        }
    }
    double s[partial_sums], q[partial_sums];
    __builtin_memcpy(s, sum, sizeof s);
    __builtin_memcpy(q, squares, sizeof q);
    return {((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])),
            ((q[0] + q[4]) + (q[2] + q[6])) + ((q[1] + q[5]) + (q[3] + q[7]))};
}

// Rows of an image that will be needed next: they lie pages apart, which no prefetcher follows. Asked for all at once
// they would wait for each other, and everybody else for them.
struct Ahead {
    const float* at;
    size_t row_stride;
    size_t n_row; // 0 for none
    size_t n_col;
    size_t column;
};

STARSKOPE_INLINE void fetch_line(Ahead& ahead) {
    if (ahead.n_row == 0) {
        return;
    }
    __builtin_prefetch(ahead.at + ahead.column);
    ahead.column += 16;
    if (ahead.column >= ahead.n_col) {
        ahead.column = 0;
        ahead.at += ahead.row_stride;
        --ahead.n_row;
    }
}

struct Core {
    Sums sums;      // about the centre of the guess
    size_t n_below; // values below the window
    size_t n_rest;  // values set aside
};

// Adds up the deviations of what lies in the core, and sets aside what lies beyond it or in the window. x: whole
// blocks, infinity for what is missing.
STARSKOPE_INLINE Core split(const float* x, size_t n_all, const Guess& guess, float* rest, Ahead& next) {
    Ahead ahead = next; // in registers, where no store could change it
    constexpr size_t parts = block / size_t(half);
    const Floats centre = splat(guess.centre), window = splat(guess.window), core = splat(guess.core);
    Doubles sums[parts]{}, square_sums[parts]{};
    size_t n_below = 0, n_rest = 0;
    for (size_t i = 0; i < n_all;) {
        const size_t end = i + rows_per_sum * block < n_all ? i + rows_per_sum * block : n_all;
        Row sum{}, squares{};
        for (; i < end; i += block) {
            fetch_line(ahead);
#pragma GCC unroll 4
            for (size_t p = 0; p < row_parts; ++p) {
                const Floats v = load<Floats>(x + i + p * size_t(lanes));
                const Floats d = v - centre;
#if defined(__AVX512F__)
                const __m512 off = _mm512_abs_ps(d);
                const unsigned far = _mm512_cmp_ps_mask(off, core, _CMP_GT_OQ);
                const unsigned near = _mm512_cmp_ps_mask(off, window, _CMP_LE_OQ);
                const __mmask16 inner = __mmask16(~far);
                sum.part[p] = _mm512_mask_add_ps(sum.part[p], inner, sum.part[p], d);
                squares.part[p] = _mm512_mask_add_ps(squares.part[p], inner, squares.part[p], d * d);
#else
                const Floats off = d < 0.0f ? -d : d;
                const Ints is_far = off > core;
                const Floats inside = is_far ? Floats{} : d;
                sum.part[p] += inside;
                squares.part[p] += inside * inside;
                const unsigned far = bits_of(is_far), near = bits_of(off <= window);
#endif
                n_below += count_lanes_below(d, -window);
                n_rest += put(rest + n_rest, v, far | near);
            }
        }
        float s[block], q[block];
        __builtin_memcpy(s, &sum, sizeof s);
        __builtin_memcpy(q, &squares, sizeof q);
#pragma GCC unroll 8
        for (size_t p = 0; p < parts; ++p) {
            sums[p] += load_doubles(s + p * size_t(half));
            square_sums[p] += load_doubles(q + p * size_t(half));
        }
    }
    double s[block], q[block];
    __builtin_memcpy(s, sums, sizeof s);
    __builtin_memcpy(q, square_sums, sizeof q);
    Core found{{0.0, 0.0}, n_below, n_rest};
    for (size_t i = 0; i < block; ++i) {
        found.sums.value += s[i];
        found.sums.square += q[i];
    }
    pad(rest, n_rest);
    next = ahead;
    return found;
}

// The values of a core's rest that may be clipped and those that may be medians; those outside [from, to] are neither.
struct Rest {
    size_t n_tail;
    size_t n_near;
};

STARSKOPE_INLINE Rest parted(const float* rest, size_t n, const Guess& guess, float from, float to, float* tail,
                             float* near) {
    const Floats centre = splat(guess.centre), window = splat(guess.window), core = splat(guess.core);
    const Floats least = splat(from), most = splat(to), negative = splat(-0.0f);
    Rest found{};
    for (size_t i = 0; i < n; i += size_t(lanes)) {
        const Floats v = load<Floats>(rest + i);
        const Floats d = v - centre;
        const Floats off = Floats(Ints(d) & ~Ints(negative));
        const unsigned alive = lanes_within(v, least, most);
        found.n_tail += put(tail + found.n_tail, v, bits_below(core, off) & alive);
        found.n_near += put(near + found.n_near, v, lanes_within(off, Floats{}, window) & alive);
    }
    pad(tail, found.n_tail);
    pad(near, found.n_near);
    return found;
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
