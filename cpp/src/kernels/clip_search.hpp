// The search for a few neighbouring ranks of one series: values are counted at pivots, and those between them are
// packed into ever shorter lists, until a list fits the window that is sorted.
#pragma once

#include "series_tile.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr float largest_float = __FLT_MAX__;
constexpr size_t window_rows = 64;
constexpr int32_t rank_margin = 3; // ranks on either side of the median that the window shall hold too
constexpr int interpolated_passes = 3;

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

// (lo, hi] holds n values, of ranks [below, below + n).
struct Bracket {
    float lo, hi;
    int32_t below;
    size_t n;
};

// Ranks that are asked for, and those that the window should hold if it can.
struct Ranks {
    int32_t low, high;
    int32_t from, to;
};

// Ranks [below, upto) stand in a window.
struct Reach {
    int32_t below, upto;
};

struct Pair {
    float a, b;
};

// Puts NaN behind the last value of a list, up to a whole line.
STARSKOPE_INLINE void end_list(float* end) {
    for (size_t i = 0; i < line; i += lanes) {
        store(end + i, splat(__builtin_nanf("")));
    }
}

// Packs the values in (a, b] of n, whose lines are `stride` apart. Returns how many; n_a: values up to a.
STARSKOPE_INLINE size_t keep_between(const float* values, size_t stride, size_t n, float a, float b, float* to,
                                     size_t& n_a) {
    const Floats low = splat(a), high = splat(b);
    float* end = to;
    size_t below_a = 0;
    for (size_t left = n_lines(n); left > 0; --left, values += stride) {
        for (size_t i = 0; i < line; i += lanes) {
            const Floats x = load<Floats>(values + i);
            const Bits under = bits_at_most(x, low);
            below_a += n_set(under);
            end = append(end, x, Bits(bits_at_most(x, high) & ~under));
        }
    }
    end_list(end);
    n_a = below_a;
    return size_t(end - to);
}

STARSKOPE_INLINE float least_lane(Floats v) {
    float least = v[0];
    for (int i = 1; i < lanes; ++i) {
        least = v[i] < least ? v[i] : least;
    }
    return least;
}

// The least and the greatest value in (lo, hi] of a list of n.
STARSKOPE_INLINE Pair ends_between(const float* values, size_t n, float lo, float hi) {
    const Floats from = splat(lo), to = splat(hi), beyond = splat(__builtin_inff());
    Floats least = beyond, greatest = beyond; // of the negatives
    for (size_t i = 0; i < n_lines(n) * line; i += lanes) {
        const Floats x = load<Floats>(values + i);
        const Ints inside = (x > from) & (x <= to);
        least = lesser(least, inside ? x : beyond);
        greatest = lesser(greatest, inside ? -x : beyond);
    }
    return {least_lane(least), -least_lane(greatest)};
}

// Pivots around ranks [from, to], as far out as the noise of counts asks, where values are spread evenly.
STARSKOPE_INLINE Pair interpolated(const Bracket& bracket, const Ranks& ranks) {
    const float n = float(bracket.n), width = bracket.hi - bracket.lo;
    const float spread = 1.1f * __builtin_sqrtf(n) + 1.0f;
    const float low = (float(ranks.from - bracket.below) - spread) / n;
    const float high = (float(ranks.to + 1 - bracket.below) + spread) / n;
    return {low > 0.0f ? bracket.lo + low * width : bracket.lo, high < 1.0f ? bracket.lo + high * width : bracket.hi};
}

STARSKOPE_INLINE int32_t key_at(float x) {
    int32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits ^ ((bits >> 31) & 0x7fffffff);
}

// The float32 in the middle between two, as they are numbered.
STARSKOPE_INLINE float middle_of(float lo, float hi) {
    const float key = __builtin_bit_cast(float, int32_t((int64_t(key_at(lo)) + key_at(hi)) >> 1));
    return value_at(&key);
}

STARSKOPE_INLINE void fill_window(float* window, const float* values, size_t n) {
    for (size_t i = 0; i < window_rows; i += lanes) {
        store(window + i, i < n ? load<Floats>(values + i) : splat(__builtin_nanf("")));
    }
}

// Puts values around `ranks` of a bracket that holds them into the window, unsorted: `list` are the values of the
// bracket and NaN, two others are lent. Where interpolation misleads, halving the number of float32 in the bracket ends
// the search, at one value or between two.
Reach search(const float* list, Bracket bracket, Ranks ranks, float* const (&spare)[2], float* window) {
    for (int pass = 0; bracket.n > window_rows; ++pass) {
        const size_t n = bracket.n;
        if (bracket.lo < -largest_float || bracket.hi == largest_float) {
            const Pair ends = ends_between(list, n, bracket.lo, bracket.hi);
            bracket.lo = below(ends.a);
            bracket.hi = ends.b;
        }
        if (key_at(bracket.hi) - int64_t(key_at(bracket.lo)) <= 1) {
            for (size_t i = 0; i < window_rows; i += lanes) {
                store(window + i, splat(bracket.hi));
            }
            return {bracket.below, bracket.below + int32_t(bracket.n)};
        }
        Pair pivots = interpolated(bracket, ranks);
        const bool useful = pivots.a >= bracket.lo && pivots.b <= bracket.hi && pivots.a < pivots.b &&
                            (pivots.a > bracket.lo || pivots.b < bracket.hi);
        if (pass >= interpolated_passes || !useful) {
            pivots.a = pivots.b = middle_of(bracket.lo, bracket.hi);
        }
        float* to = list == spare[0] ? spare[1] : spare[0];
        size_t n_a;
        const size_t n_between = keep_between(list, line, n, pivots.a, pivots.b, to, n_a);
        const int32_t at_a = bracket.below + int32_t(n_a), at_b = at_a + int32_t(n_between);
        const bool above_a = at_a <= ranks.from, below_b = at_b > ranks.to;
        if (above_a && below_b) {
            bracket = {pivots.a, pivots.b, at_a, n_between};
            list = to;
            continue;
        }
        Bracket rest = bracket;
        if (at_b <= ranks.from) {
            rest = {pivots.b, bracket.hi, at_b, bracket.n - n_a - n_between};
        } else if (at_a > ranks.to) {
            rest = {bracket.lo, pivots.a, bracket.below, n_a};
        } else if (above_a) {
            rest = {pivots.a, bracket.hi, at_a, bracket.n - n_a};
        } else if (below_b) {
            rest = {bracket.lo, pivots.b, bracket.below, n_a + n_between};
        } else if (pivots.a == pivots.b && (ranks.from < ranks.low || ranks.to > ranks.high)) {
            ranks.from = ranks.low;
            ranks.to = ranks.high;
            continue;
        } else if (pivots.a == pivots.b) { // between the two that are asked for
            fill_window(window, list, 0);
            window[0] = ends_between(list, n, bracket.lo, pivots.a).b;
            window[1] = ends_between(list, n, pivots.a, bracket.hi).a;
            return {ranks.low, ranks.high + 1};
        } else {
            continue;
        }
        keep_between(list, line, n, rest.lo, rest.hi, to, n_a);
        bracket = rest;
        list = to;
    }
    fill_window(window, list, bracket.n);
    return {bracket.below, bracket.below + int32_t(bracket.n)};
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
