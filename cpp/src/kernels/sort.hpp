// Sorting along time, every lane for itself: a network of lesser/greater over rows of `lanes` series.
//
// Runs of 2^max_stages rows are sorted in registers, then merged pairwise by bitonic merges whose stages are taken
// max_stages at a time, so that a pass over memory serves up to four of them. Every comparison puts the lesser value
// into the earlier row; so rows that would lie past the end may be imagined as the last and left out, and any number of
// rows that is a multiple of run_rows can be sorted.
//
// What is sorted are keys: integers in the order of the float32 values that they stand for. Processors find the lesser
// of two integers up to twice as often as that of two floats, and NaN has a place: behind infinity.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t run_rows = size_t{1} << max_stages;

// A float32 as an integer and back: negative numbers have all bits but the sign turned.
template <class V, class I>
STARSKOPE_INLINE I turned_key(V x) {
    const I bits = (I)x;
    return bits ^ ((bits >> 31) & 0x7fffffff);
}

STARSKOPE_INLINE Ints key_of(Floats x) {
    return turned_key<Floats, Ints>(x);
}

STARSKOPE_INLINE Floats value_of(Ints key) {
    return (Floats)turned_key<Ints, Ints>(key);
}

STARSKOPE_INLINE float value_at(const float* keys) {
    int32_t key;
    __builtin_memcpy(&key, keys, sizeof key);
    key ^= (key >> 31) & 0x7fffffff;
    float x;
    __builtin_memcpy(&x, &key, sizeof x);
    return x;
}

// `half` keys in memory, as float64 values.
STARSKOPE_INLINE Doubles values_at(const float* keys) {
    const HalfInts bits = turned_key<HalfInts, HalfInts>(load<HalfInts>(keys));
#if defined(__AVX512F__)
    return _mm512_cvtps_pd((__m256)bits);
#else
    return __builtin_convertvector((HalfFloats)bits, Doubles);
#endif
}

STARSKOPE_INLINE void store(float* p, Ints keys) {
    __builtin_memcpy(p, &keys, sizeof keys);
}

constexpr int32_t greatest_key = 0x7fffffff;

STARSKOPE_INLINE Ints lesser(Ints a, Ints b) {
#if defined(__AVX512F__)
    return (Ints)_mm512_min_epi32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (Ints)_mm256_min_epi32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
    return (Ints)_mm_min_epi32((__m128i)a, (__m128i)b);
#else
    return a < b ? a : b;
#endif
}

STARSKOPE_INLINE Ints greater(Ints a, Ints b) {
#if defined(__AVX512F__)
    return (Ints)_mm512_max_epi32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (Ints)_mm256_max_epi32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
    return (Ints)_mm_max_epi32((__m128i)a, (__m128i)b);
#else
    return a > b ? a : b;
#endif
}

STARSKOPE_INLINE void order(Ints& a, Ints& b) {
    const Ints low = lesser(a, b);
    b = greater(a, b);
    a = low;
}

// The shortest known networks for 8 and 16 inputs: 19 and 60 comparisons.
STARSKOPE_INLINE void sort_registers(Ints (&r)[8]) {
    constexpr unsigned char network[19][2] = {{0, 2}, {1, 3}, {4, 6}, {5, 7}, {0, 4}, {1, 5}, {2, 6},
                                              {3, 7}, {0, 1}, {2, 3}, {4, 5}, {6, 7}, {2, 4}, {3, 5},
                                              {1, 4}, {3, 6}, {1, 2}, {3, 4}, {5, 6}};
#pragma GCC unroll 19
    for (int i = 0; i < 19; ++i) {
        order(r[network[i][0]], r[network[i][1]]);
    }
}

STARSKOPE_INLINE void sort_registers(Ints (&r)[16]) {
    constexpr unsigned char network[60][2] = {
        {0, 13},  {1, 12},  {2, 15},  {3, 14},  {4, 8},   {5, 6},   {7, 11}, {9, 10},  {0, 5},   {1, 7},
        {2, 9},   {3, 4},   {6, 13},  {8, 14},  {10, 15}, {11, 12}, {0, 1},  {2, 3},   {4, 5},   {6, 8},
        {7, 9},   {10, 11}, {12, 13}, {14, 15}, {0, 2},   {1, 3},   {4, 10}, {5, 11},  {6, 7},   {8, 9},
        {12, 14}, {13, 15}, {1, 2},   {3, 12},  {4, 6},   {5, 7},   {8, 10}, {9, 11},  {13, 14}, {1, 4},
        {2, 6},   {5, 8},   {7, 10},  {9, 13},  {11, 14}, {2, 4},   {3, 6},  {9, 12},  {11, 13}, {3, 5},
        {6, 8},   {7, 9},   {10, 12}, {3, 4},   {5, 6},   {7, 8},   {9, 10}, {11, 12}, {6, 7},   {8, 9}};
#pragma GCC unroll 60
    for (int i = 0; i < 60; ++i) {
        order(r[network[i][0]], r[network[i][1]]);
    }
}

// Rows r[0], r[1], ... in order of time, bitonic: `n` a power of two.
template <int n>
STARSKOPE_INLINE void clean_registers(Ints* r) {
    if constexpr (n > 1) {
#pragma GCC unroll 8
        for (int i = 0; i < n / 2; ++i) {
            order(r[i], r[i + n / 2]);
        }
        clean_registers<n / 2>(r);
        clean_registers<n / 2>(r + n / 2);
    }
}

// The first `stages` stages of merging the sorted rows [0, m) with the sorted rows [m, n_row), n_row <= 2 m: row i
// meets row 2 m - 1 - i, after which both halves are bitonic, and the distances m/2, m/4, ... follow.
template <int stages>
STARSKOPE_INLINE void merge_first(float* x, size_t m, size_t n_row) {
    constexpr int n = 1 << (stages - 1);
    const size_t step = m / n;
    // Below this i all partners lie past the end: nothing changes, since [0, m) is sorted.
    const size_t first_i = m + step > n_row ? m + step - n_row : 0;
    for (size_t i = first_i; i < step; ++i) {
        float* const lower = x + i * lanes;
        const size_t first = m + step - 1 - i;
        float* const upper = x + first * lanes;
        const bool whole = first + (n - 1) * step < n_row;
        Ints low[n], high[n]; // both in order of time
#pragma GCC unroll 8
        for (int k = 0; k < n; ++k) {
            low[k] = load<Ints>(lower + size_t(k) * step * lanes);
            high[k] = whole || first + size_t(k) * step < n_row ? load<Ints>(upper + size_t(k) * step * lanes)
                                                                : Ints{} + greatest_key;
        }
#pragma GCC unroll 8
        for (int k = 0; k < n; ++k) {
            order(low[k], high[n - 1 - k]);
        }
        clean_registers<n>(low);
        clean_registers<n>(high);
#pragma GCC unroll 8
        for (int k = 0; k < n; ++k) {
            store(lower + size_t(k) * step * lanes, low[k]);
            if (whole || first + size_t(k) * step < n_row) {
                store(upper + size_t(k) * step * lanes, high[k]);
            }
        }
    }
}

// Stages with distances 2^(stages-1) step, ..., step over rows [0, n_row).
template <int stages>
STARSKOPE_INLINE void merge_next(float* x, size_t step, size_t n_row) {
    constexpr int n = 1 << stages;
    for (size_t block = 0; block < n_row; block += n * step) {
        for (size_t i = block; i < block + step && i < n_row; ++i) {
            float* const row = x + i * lanes;
            const bool whole = i + (n - 1) * step < n_row;
            Ints r[n];
#pragma GCC unroll 16
            for (int k = 0; k < n; ++k) {
                r[k] = whole || i + size_t(k) * step < n_row ? load<Ints>(row + size_t(k) * step * lanes)
                                                             : Ints{} + greatest_key;
            }
            clean_registers<n>(r);
#pragma GCC unroll 16
            for (int k = 0; k < n; ++k) {
                if (whole || i + size_t(k) * step < n_row) {
                    store(row + size_t(k) * step * lanes, r[k]);
                }
            }
        }
    }
}

// Sorts rows [0, n_row) of `lanes` keys each; n_row is a multiple of run_rows.
static void sort_rows(float* x, size_t n_row) {
    for (size_t i = 0; i < n_row; i += run_rows) {
        Ints r[run_rows];
#pragma GCC unroll 16
        for (size_t k = 0; k < run_rows; ++k) {
            r[k] = load<Ints>(x + (i + k) * lanes);
        }
        sort_registers(r);
#pragma GCC unroll 16
        for (size_t k = 0; k < run_rows; ++k) {
            store(x + (i + k) * lanes, r[k]);
        }
    }
    for (size_t m = run_rows; m < n_row; m *= 2) {
        for (size_t base = 0; base + m < n_row; base += 2 * m) {
            float* const pair = x + base * lanes;
            const size_t rest = n_row - base;
            const size_t n_pair = rest < 2 * m ? rest : 2 * m;
            merge_first<max_stages>(pair, m, n_pair);
            size_t distance = m >> max_stages; // of the next stage
            while (distance > 0) {
                if (max_stages == 4 && distance >= 8) {
                    merge_next<max_stages>(pair, distance / 8, n_pair);
                    distance >>= 4;
                } else if (distance >= 4) {
                    merge_next<3>(pair, distance / 4, n_pair);
                    distance >>= 3;
                } else if (distance >= 2) {
                    merge_next<2>(pair, distance / 2, n_pair);
                    distance >>= 2;
                } else {
                    merge_next<1>(pair, 1, n_pair);
                    distance = 0;
                }
            }
        }
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
