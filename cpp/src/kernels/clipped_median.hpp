// The clipped median of one series that lies in the cache, and never sorted: rounds look at the tails alone, and at the
// few values among which the median is.
#pragma once

#include "clip_core.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t most_splits = 6;

// Two bounds that only close in: what lies between them survives.
struct Bounds {
    float from;
    float to;
};

STARSKOPE_INLINE Bounds closed(const Bounds& bounds, double low, double high) {
    return {low > double(bounds.from) ? at_least(low) : bounds.from,
            high < double(bounds.to) ? at_most(high) : bounds.to};
}

// How many of n values (padded) survive one pair of bounds and another.
STARSKOPE_INLINE void count_within(const float* x, size_t n, const Bounds& a, const Bounds& b, size_t& n_a,
                                   size_t& n_b) {
    const Floats from_a = splat(a.from), to_a = splat(a.to), from_b = splat(b.from), to_b = splat(b.to);
    n_a = n_b = 0;
    for (size_t i = 0; i < n; i += size_t(lanes)) {
        const Floats v = load<Floats>(x + i);
        n_a += size_t(__builtin_popcount(lanes_within(v, from_a, to_a)));
        n_b += size_t(__builtin_popcount(lanes_within(v, from_b, to_b)));
    }
}

// Takes what does not survive off n values (padded); returns how many of them were below.
STARSKOPE_INLINE size_t drop_outside(float* x, size_t& n, const Bounds& bounds) {
    const Floats least = splat(bounds.from), most = splat(bounds.to);
    size_t kept = 0, n_below = 0;
    for (size_t i = 0; i < n; i += size_t(lanes)) {
        const Floats v = load<Floats>(x + i);
        n_below += count_lanes_below(v, least);
        kept += put(x + kept, v, lanes_within(v, least, most));
    }
    pad(x, kept);
    n = kept;
    return n_below;
}

// The values among which the median is, those below them, and all.
struct Ranks {
    const float* near; // n_near values (padded) from `least` to `most`
    size_t n_near;
    size_t n_before;
    size_t n;
    double least;
    double most;
    Window window;
};

STARSKOPE_INLINE bool has_median(const Ranks& r) {
    const size_t upper = r.n / 2, lower = upper - (r.n % 2 == 0 ? 1 : 0);
    return lower >= r.n_before && upper < r.n_before + r.n_near;
}

STARSKOPE_INLINE float median_of(Ranks& r, float* spare) {
    const size_t rank = r.n / 2 - r.n_before;
    if (!holds(r.window, rank)) {
        // Clipping takes what is above, so that ranks fall: the window holds more of what is below.
        const double part = (double(rank) + 0.5) / double(r.n_near), wide = r.most - r.least;
        const double spread = 0.5 * __builtin_sqrt(double(r.n_near));
        const Pivots pivots{float(r.least + wide * (part - (spread + 24.0) / double(r.n_near))),
                            float(r.least + wide * (part + (spread + 4.0) / double(r.n_near)))};
        const float least = r.least < -double(largest_float) ? -largest_float : at_most(r.least);
        const float most = r.most > double(largest_float) ? largest_float : at_least(r.most);
        r.window = window_at(r.near, padded_size(r.n_near), r.n_near, rank, least, most, pivots, spare);
    }
    const float upper = at_rank(r.window, rank);
    if (r.n % 2 != 0) {
        return upper;
    }
    const float lower =
        holds(r.window, rank - 1) ? at_rank(r.window, rank - 1) : greatest_below(r.near, padded_size(r.n_near), upper);
    return float(0.5 * (double(upper) + double(lower)));
}

STARSKOPE_INLINE double reach_of(const Sums& core, const Sums& tails, size_t n, double sigma) {
    const double mean = (core.value + tails.value) / double(n);
    const double variance = (core.square + tails.square) / double(n) - mean * mean;
    return variance > 0.0 ? sigma * __builtin_sqrt(variance) : 0.0;
}

// How far clipping has come.
struct Clipping {
    Bounds bounds;
    size_t n;       // survivors
    size_t n_below; // values below the bounds
};

struct ClippedMedian {
    float median;
    size_t n;
};

// Goes on clipping with a core that no round cuts: sums are those of the core and of what is left of the tails, and the
// median is the one in the window, by its rank, which falls by what was clipped below. While no value lies where the
// bounds could be, wherever in the window the median is, nobody asks for it. Where the guess turns out wrong there is
// another one, and false is returned.
STARSKOPE_INLINE bool clip_about_core(const float* x, size_t n_all, double sigma, Guess& guess, Clipping& at,
                                      float* spare, size_t room, Ahead& ahead, float& median) {
    float* const rest = spare;
    float* const tail = rest + room + 4 * few;
    float* const near = tail + room;
    const Core core = split(x, n_all, guess, rest, ahead);
    Rest kept = parted(rest, core.n_rest, guess, at.bounds.from, at.bounds.to, tail, near);
    // A difference of float32 values is rounded: core and window may be a little wider than the guess says.
    const double centre = double(guess.centre), margin = 3e-7 * (__builtin_fabs(centre) + double(guess.core));
    const double edge = double(guess.core) + margin, window = double(guess.window) + margin;
    Ranks ranks{near, kept.n_near, core.n_below - at.n_below, at.n, centre - window, centre + window, {}};
    while (has_median(ranks)) {
        const double reach = reach_of(core.sums, sums_about(tail, padded_size(kept.n_tail), centre), ranks.n, sigma);
        const auto cuts = [&](const Bounds& b) __attribute__((always_inline)) {
            return double(b.from) > centre - edge || double(b.to) < centre + edge;
        };
        const Bounds wide = closed(at.bounds, ranks.least - reach, ranks.most + reach);
        Bounds bounds = closed(at.bounds, ranks.most - reach, ranks.least + reach);
        size_t n_wide, n_kept;
        count_within(tail, kept.n_tail, wide, bounds, n_wide, n_kept);
        if (n_wide != n_kept || cuts(bounds)) {
            median = median_of(ranks, rest);
            bounds = closed(at.bounds, double(median) - reach, double(median) + reach);
            if (cuts(bounds)) {
                size_t up_to;
                at.bounds = bounds;
                count_below(x, n_all, bounds.from, next_above(bounds.to), at.n_below, up_to);
                at.n = up_to - at.n_below;
                const double below = double(median) - double(bounds.from), above = double(bounds.to) - double(median);
                const double half_core = 0.75 * (below < above ? below : above);
                const double half_window = double(guess.window) < half_core ? double(guess.window) : half_core;
                guess = checked_guess(double(median), half_window, half_core);
                return at.n == ranks.n;
            }
        }
        const size_t before = kept.n_tail;
        const size_t n_below = drop_outside(tail, kept.n_tail, bounds);
        if (kept.n_tail == before) {
            median = median_of(ranks, rest);
            return true;
        }
        at.bounds = bounds;
        at.n_below += n_below;
        ranks.n_before -= n_below;
        at.n = ranks.n -= before - kept.n_tail;
    }
    guess = 3.0f * guess.window <= guess.core ? Guess{guess.centre, 3.0f * guess.window, guess.core} : no_guess;
    return false;
}

// Goes on clipping with everything looked at in every round.
STARSKOPE_INLINE float clip_whole(const float* x, size_t n_all, double sigma, Clipping& at, float* spare, size_t room) {
    float* const values = spare + room + 4 * few;
    at.n = keep_within(x, n_all, at.bounds.from, at.bounds.to, values);
    while (true) {
        Ranks ranks{values, at.n, 0, at.n, double(at.bounds.from), double(at.bounds.to), {}};
        const float median = median_of(ranks, spare);
        const Sums sums = sums_about(values, padded_size(at.n), double(median));
        const double reach = reach_of({}, sums, at.n, sigma);
        at.bounds = closed(at.bounds, double(median) - reach, double(median) + reach);
        drop_outside(values, at.n, at.bounds);
        if (at.n == ranks.n) {
            return median;
        }
    }
}

// Clips n finite values at sigma standard deviations around the median until nothing changes. x has room for a block
// more; `spare` for three times as much and 4 * few. Deviations of the core are added in float32 and right to 1e-7.
__attribute__((noinline)) ClippedMedian clipped_median(float* x, size_t n, double sigma, float* spare, Ahead ahead) {
    if (n == 0) {
        return {__builtin_nanf(""), 0};
    }
    const size_t n_all = padded_size(n), room = n_all + 2 * block;
    for (size_t i = n; i < n_all; ++i) {
        x[i] = __builtin_inff();
    }
    Clipping at{{-largest_float, largest_float}, n, 0};
    Guess guess = sampled_guess(x, n);
    float median;
    for (size_t n_split = 0; n_split < most_splits && guess.core >= 0.0f; ++n_split) {
        if (clip_about_core(x, n_all, sigma, guess, at, spare, room, ahead, median)) {
            return {median, at.n};
        }
    }
    median = clip_whole(x, n_all, sigma, at, spare, room);
    return {median, at.n};
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
