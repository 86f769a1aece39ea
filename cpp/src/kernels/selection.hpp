// The clipped median of one series that lies in the cache: order found by counting, never by sorting. A pass over a
// box of 4,096 pixels counts those below two pivots in 0.1 us; pivots come from a sample, then from interpolation.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t block = 16;       // series are padded with NaN to blocks of so many
constexpr size_t few = 32;         // neighbours of a median that are sorted
constexpr size_t partial_sums = 8; // the same on every instruction set, so that sums are
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

// A bit for each lane of v that lies below that of `limit`: nothing is added across lanes.
STARSKOPE_INLINE unsigned lanes_below(Floats v, Floats limit) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(v, limit, _CMP_LT_OQ);
#elif defined(__AVX2__)
    return unsigned(_mm256_movemask_ps(_mm256_cmp_ps(v, limit, _CMP_LT_OQ)));
#elif defined(__x86_64__)
    return unsigned(_mm_movemask_ps(_mm_cmplt_ps(v, limit)));
#else
    const Ints below = v < limit;
    unsigned bits = 0;
    for (int i = 0; i < lanes; ++i) {
        bits |= unsigned(below[i] & 1) << i;
    }
    return bits;
#endif
}

STARSKOPE_INLINE size_t count_lanes_below(Floats v, Floats limit) {
    return size_t(__builtin_popcount(lanes_below(v, limit)));
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

// The least float that is not below x, and the greatest that is not above.
STARSKOPE_INLINE float at_least(double x) {
    const float f = float(x);
    return double(f) < x ? next_above(f) : f;
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

// Moves the values within [low, high] of n to `to`, which may be x, and pads them; returns their number. Room for one
// block more than comes is needed. Keeps the order.
STARSKOPE_INLINE size_t keep_within(const float* x, size_t n, float low, float high, float* to) {
    size_t kept = 0;
    const size_t n_padded = padded_size(n);
#if defined(__AVX512F__)
    for (size_t i = 0; i < n_padded; i += 16) {
        const __m512 v = _mm512_loadu_ps(x + i);
        const __mmask16 within = _mm512_cmp_ps_mask(v, _mm512_set1_ps(low), _CMP_GE_OQ) &
                                 _mm512_cmp_ps_mask(v, _mm512_set1_ps(high), _CMP_LE_OQ);
        _mm512_storeu_ps(to + kept, _mm512_maskz_compress_ps(within, v));
        kept += size_t(__builtin_popcount(within));
    }
#else
    for (size_t i = 0; i < n_padded; ++i) {
        const float v = x[i];
        to[kept] = v;
        kept += v >= low && v <= high;
    }
#endif
    pad(to, kept);
    return kept;
}

struct Pivots {
    float a;
    float b;
};

STARSKOPE_INLINE Pivots sampled_pivots(const float* x, size_t n) {
    float sample[32];
    const size_t n_sample = n >= 512 ? 32 : 16, step = n / n_sample;
    for (size_t i = 0; i < n_sample; ++i) {
        const float v = x[i * step];
        size_t k = i;
        for (; k > 0 && sample[k - 1] > v; --k) {
            sample[k] = sample[k - 1];
        }
        sample[k] = v;
    }
    return n_sample == 32 ? Pivots{sample[10], sample[22]} : Pivots{sample[4], sample[11]};
}

// Neighbours in order: those of ranks first..first + n - 1, counted from 0.
struct Window {
    const float* value; // null where all are `level`
    float level;
    size_t first;
    size_t n;
    double density; // values per unit around them
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
    double density = 0.0;
    while (n_high - n_low > few) {
        const double top = high > largest_float ? past_floats : double(high);
        const float middle = float(0.5 * (double(low) + top));
        if (!(middle > low && middle < high)) {
            return {nullptr, low, n_low, n_high - n_low, density}; // no float lies between: all are alike
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
        if (wide > 0.0) {
            density = double(left) / wide;
        }
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
    float sorted[few + block];
    for (size_t i = 0; i < n_left; ++i) {
        size_t below, up_to;
        count_below(to, padded_size(n_left), to[i], next_above(to[i]), below, up_to);
        for (size_t rank = below; rank < up_to; ++rank) {
            sorted[rank] = to[i];
        }
    }
    __builtin_memcpy(spare, sorted, n_left * sizeof(float));
    return {spare, low, n_low, n_left, density};
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

// Makes what lies outside [from, to] NaN and takes it off the sums; counts what went below and above.
STARSKOPE_INLINE void drop_outside(float* x, size_t n, float from, float to, double centre, Sums& sums, size_t& n_below,
                                   size_t& n_above) {
    const Floats least = splat(from), most = splat(to);
    n_below = n_above = 0;
    for (size_t i = 0; i < n; i += lanes) {
        const Floats v = load<Floats>(x + i);
        const unsigned below = lanes_below(v, least), above = lanes_below(most, v);
        for (unsigned left = below | above; left != 0; left &= left - 1) {
            const size_t k = i + size_t(__builtin_ctz(left));
            const double d = double(x[k]) - centre;
            sums.value -= d;
            sums.square -= d * d;
            x[k] = __builtin_nanf("");
        }
        if ((below | above) != 0) {
            n_below += size_t(__builtin_popcount(below));
            n_above += size_t(__builtin_popcount(above));
        }
    }
}

struct ClippedMedian {
    float median;
    size_t n;
};

// Clips n finite values at sigma standard deviations around the median until nothing changes: x (room for a block
// more) holds NaN for what was clipped. After the first round the median is found among its sorted neighbours, whose
// ranks change by what went below them, and sums lose what was dropped.
STARSKOPE_INLINE ClippedMedian clipped_median(float* x, size_t n, double sigma, float* spare) {
    if (n == 0) {
        return {__builtin_nanf(""), 0};
    }
    pad(x, n);
    const size_t n_all = padded_size(n);
    Floats lowest = splat(__builtin_inff()), highest = splat(-__builtin_inff());
    for (size_t i = 0; i < n_all; i += lanes) {
        const Floats v = load<Floats>(x + i);
        lowest = v < lowest ? v : lowest;
        highest = v > highest ? v : highest;
    }
    float least = least_lane(lowest), most = -least_lane(-highest);
    Pivots pivots = n > 2 * few ? sampled_pivots(x, n) : Pivots{least, least};
    Window window{};
    Sums sums{};
    double centre = 0.0, squares = 0.0; // of the last whole sums
    while (true) {
        const size_t k = n / 2;
        if (!holds(window, k)) {
            window = window_at(x, n_all, n, k, least, most, pivots, spare);
        }
        float median = at_rank(window, k);
        if (n % 2 == 0) {
            const float under = holds(window, k - 1) ? at_rank(window, k - 1) : greatest_below(x, n_all, median);
            median = float(0.5 * (double(median) + double(under)));
        }
        // Differences of sums are right to 1e-13 as long as a thousandth of the squares is left.
        if (!(sums.square > 1e-3 * squares)) {
            centre = double(median);
            sums = sums_about(x, n_all, centre);
            squares = sums.square;
        }
        const double mean = sums.value / double(n);
        const double variance = sums.square / double(n) - mean * mean;
        const double deviation = variance > 0.0 ? __builtin_sqrt(variance) : 0.0;
        const double low = double(median) - sigma * deviation, high = double(median) + sigma * deviation;
        const float from = low <= double(least) ? least : at_least(low);
        const float to = high >= double(most) ? most : at_most(high);
        size_t n_below, n_above;
        drop_outside(x, n_all, from, to, centre, sums, n_below, n_above);
        if (n_below + n_above == 0) {
            return {median, n};
        }
        // The median moves by half of what one side lost more than the other.
        const double shift = 0.5 * (double(n_below) - double(n_above));
        const double off = 0.3 * __builtin_fabs(shift) + 16.0;
        if (window.density > 0.0) {
            pivots = {float(double(median) + (shift - off) / window.density),
                      float(double(median) + (shift + off) / window.density)};
        }
        // A window that the bounds cut is no longer whole.
        const bool is_cut =
            window.n > 0 && (at_rank(window, window.first) < from || at_rank(window, window.first + window.n - 1) > to);
        window.first -= is_cut ? 0 : n_below;
        window.n = is_cut ? 0 : window.n;
        n -= n_below + n_above;
        least = from;
        most = to;
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
