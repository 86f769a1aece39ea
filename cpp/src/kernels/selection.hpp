// Order among values that lie in the cache, found by counting: how many lie below a pivot, which lie between two, and
// the sorted neighbours of a rank.
#pragma once

#include "pack.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t block = 16; // series are padded with NaN to blocks of so many
constexpr size_t few = 64;   // neighbours of a median that are sorted
constexpr float largest_float = 3.40282346638528859812e+38f;
constexpr double past_floats = 0x1p128; // where the next one would be

STARSKOPE_INLINE size_t padded_size(size_t n) {
    return (n + block - 1) / block * block;
}

STARSKOPE_INLINE void pad(float* x, size_t n) {
    for (size_t i = n; i < padded_size(n); ++i) {
        x[i] = __builtin_nanf("");
    }
}

STARSKOPE_INLINE unsigned lanes_within(Floats v, Floats low, Floats high) {
#if defined(__AVX512F__)
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(v, low, _CMP_GE_OQ), v, high, _CMP_LE_OQ);
#else
    return bits_of((v >= low) & (v <= high));
#endif
}

// Moves the lanes that `bits` tell to `to`, where there is room for a vector; returns their number.
STARSKOPE_INLINE size_t put(float* to, Floats v, unsigned bits) {
#if defined(__AVX512F__)
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps(__mmask16(bits), v));
#else
    size_t kept = 0;
    for (int i = 0; i < lanes; ++i) {
        to[kept] = v[i];
        kept += bits >> i & 1;
    }
#endif
    return size_t(__builtin_popcount(bits));
}

STARSKOPE_INLINE size_t count_lanes_below(Floats v, Floats limit) {
    return n_set(bits_below(v, limit));
}

STARSKOPE_INLINE float least_lane(Floats v) {
#if defined(__AVX512F__)
    return _mm512_reduce_min_ps(v);
#else
    float least = v[0];
    for (int i = 1; i < lanes; ++i) {
        least = v[i] < least ? v[i] : least;
    }
    return least;
#endif
}

STARSKOPE_INLINE float next_above(float x) {
    int32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    bits = x == 0.0f ? 1 : bits + (bits < 0 ? -1 : 1);
    __builtin_memcpy(&x, &bits, 4);
    return x;
}

// The least float that is not below x, and the greatest that is not above. Half of all x lie above the float next to
// them, which no processor foresees: nothing branches.
STARSKOPE_INLINE float at_least(double x) {
    float f = float(x);
    int32_t bits;
    __builtin_memcpy(&bits, &f, 4);
    bits += int32_t(double(f) < x) * (1 | (bits >> 31));
    __builtin_memcpy(&f, &bits, 4);
    return f;
}

STARSKOPE_INLINE float at_most(double x) {
    return -at_least(-x);
}

// How many of n values (padded) lie below a and below b.
STARSKOPE_INLINE void count_below(const float* x, size_t n, float a, float b, size_t& n_a, size_t& n_b) {
    const Floats pivot_a = splat(a), pivot_b = splat(b);
    size_t below_a = 0, below_b = 0;
    for (size_t i = 0; i < n; i += lanes) {
        const Floats v = load<Floats>(x + i);
        below_a += count_lanes_below(v, pivot_a);
        below_b += count_lanes_below(v, pivot_b);
    }
    n_a = below_a;
    n_b = below_b;
}

// Moves the values within [low, high] of n (padded) to `to`, which may be x, and pads them; returns their number. Room
// for one block more than comes is needed. Keeps the order.
STARSKOPE_INLINE size_t keep_within(const float* x, size_t n, float low, float high, float* to) {
    const Floats least = splat(low), most = splat(high);
    size_t kept = 0;
    for (size_t i = 0; i < n; i += size_t(lanes)) {
        const Floats v = load<Floats>(x + i);
        kept += put(to + kept, v, lanes_within(v, least, most));
    }
    pad(to, kept);
    return kept;
}

// Leaves the finite of n values (padded) in x, which seldom have to move; returns their number.
STARSKOPE_INLINE size_t finite_values(float* x, size_t n) {
    constexpr size_t parts = 4; // that do not wait for each other
    const size_t n_whole = n / (parts * size_t(lanes)) * (parts * size_t(lanes));
    Floats sum[parts]{};
    for (size_t i = 0; i < n_whole; i += parts * size_t(lanes)) {
#pragma GCC unroll 4
        for (size_t p = 0; p < parts; ++p) {
            sum[p] += 0.0f * load<Floats>(x + i + p * size_t(lanes));
        }
    }
    const Floats all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    bool is_finite = bits_of(all == all) == (1u << lanes) - 1;
    for (size_t i = n_whole; i < n; ++i) {
        is_finite &= x[i] - x[i] == 0.0f;
    }
    return is_finite ? n : keep_within(x, n, -largest_float, largest_float, x);
}

struct Pivots {
    float a;
    float b;
};

// Counts, lane by lane, a value that is below v, or not above.
#if defined(__AVX512F__)
STARSKOPE_INLINE Ints counted(Ints count, __mmask16 where) {
    return Ints(_mm512_mask_sub_epi32(__m512i(count), where, __m512i(count), _mm512_set1_epi32(-1)));
}
STARSKOPE_INLINE Ints counted_below(Ints count, Floats one, Floats v) {
    return counted(count, _mm512_cmp_ps_mask(one, v, _CMP_LT_OQ));
}
STARSKOPE_INLINE Ints counted_up_to(Ints count, Floats one, Floats v) {
    return counted(count, _mm512_cmp_ps_mask(one, v, _CMP_LE_OQ));
}
#else
STARSKOPE_INLINE Ints counted_below(Ints count, Floats one, Floats v) {
    return count - (one < v);
}
STARSKOPE_INLINE Ints counted_up_to(Ints count, Floats one, Floats v) {
    return count - (one <= v);
}
#endif

// Sorts n <= few values (padded) to `to`, which may begin where x does: each is put where as many are less as stand
// before it.
STARSKOPE_INLINE void sort_few(const float* x, size_t n, float* to) {
    float value[few];
    int32_t rank[few];
    Ints place;
    for (int i = 0; i < lanes; ++i) {
        place[i] = i;
    }
    for (size_t first = 0; first < n; first += size_t(lanes)) {
        const Floats v = load<Floats>(x + first);
        const size_t end = first + size_t(lanes) < n ? first + size_t(lanes) : n;
        Ints before{};
        for (size_t i = 0; i < first; ++i) {
            before = counted_up_to(before, splat(x[i]), v);
        }
        for (size_t i = first; i < end; ++i) { // of equal values the first comes first
            const Floats one = splat(x[i]);
            before -= (one < v) | ((one == v) & (place > int32_t(i - first)));
        }
        for (size_t i = end; i < n; ++i) {
            before = counted_below(before, splat(x[i]), v);
        }
        store(value + first, v);
        __builtin_memcpy(rank + first, &before, sizeof before);
    }
    for (size_t i = 0; i < n; ++i) {
        to[rank[i]] = value[i];
    }
}

// Neighbours in order: those of ranks first..first + n - 1, counted from 0.
struct Window {
    const float* value; // null where all are `level`
    float level;
    size_t first;
    size_t n;
};

STARSKOPE_INLINE bool holds(const Window& window, size_t rank) {
    return rank >= window.first && rank < window.first + window.n;
}

STARSKOPE_INLINE float at_rank(const Window& window, size_t rank) {
    return window.value == nullptr ? window.level : window.value[rank - window.first];
}

// The values next to the k-th of n, all between least and most; what is NaN among n_all (whole blocks) does not count.
// `spare` has room for n_all and three times `few`; the window lies in its front.
STARSKOPE_INLINE Window window_at(const float* x, size_t n_all, size_t n, size_t k, float least, float most,
                                  Pivots try_first, float* spare) {
    float low = least, high = most >= largest_float ? __builtin_inff() : next_above(most);
    size_t n_low = 0, n_high = n; // values below low, and below high: n_low <= k < n_high
    size_t n_before = 0;          // values that were left behind
    Pivots pivots = try_first;
    while (n_high - n_low > few) {
        const double top = high > largest_float ? past_floats : double(high);
        const float middle = float(0.5 * (double(low) + top));
        if (!(middle > low && middle < high)) {
            return {nullptr, low, n_low, n_high - n_low}; // no float lies between: all are alike
        }
        const float a = pivots.a > low && pivots.a < high ? pivots.a : middle;
        const float b = pivots.b >= a && pivots.b < high ? pivots.b : a;
        size_t n_a, n_b;
        count_below(x, n_all, a, b, n_a, n_b);
        n_a += n_before;
        n_b += n_before;
        const size_t before = n_high - n_low;
        if (n_b <= k) {
            low = b;
            n_low = n_b;
        } else if (n_a <= k) {
            low = a;
            n_low = n_a;
            high = b;
            n_high = n_b;
        } else {
            high = a;
            n_high = n_a;
        }
        const size_t left = n_high - n_low;
        const double wide = (high > largest_float ? past_floats : double(high)) - double(low);
        if (4 * left > 3 * before) {
            pivots = {low, low}; // crowded on one side: the middle
        } else {
            const double part = (double(k - n_low) + 0.5) / double(left);
            const double off = (0.5 * __builtin_sqrt(double(left)) + 6.0) / double(left);
            pivots = {float(double(low) + wide * (part - off)), float(double(low) + wide * (part + off))};
        }
        if (4 * left <= n_all && n_all > 4 * block) {
            // Only what is left is looked at from here on.
            n_all = padded_size(keep_within(x, n_all, low, -next_above(-high), spare));
            x = spare;
            n_before = n_low;
        }
    }
    float* const found = spare + padded_size(few) + block; // room for the window before it
    const bool is_spare = x == spare;
    float* const to = is_spare ? spare : found;
    const size_t n_left = keep_within(x, n_all, low, high > largest_float ? largest_float : -next_above(-high), to);
    sort_few(to, n_left, spare);
    return {spare, low, n_low, n_left};
}

// The greatest of n (whole blocks) that lies below `limit`.
STARSKOPE_INLINE float greatest_below(const float* x, size_t n, float limit) {
    Floats least = splat(__builtin_inff()); // of the negatives
    const Floats end = splat(limit);
    for (size_t i = 0; i < n; i += lanes) {
        const Floats v = load<Floats>(x + i);
        least = lesser(v < end ? -v : splat(__builtin_inff()), least);
    }
    return -least_lane(least);
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
