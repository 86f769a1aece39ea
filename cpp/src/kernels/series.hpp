// Panels of neighbouring series, copied from time-major memory into blocks of rows while their moments are taken.
//
// A block holds two series per lane: one as real parts, one as imaginary parts. Each is scaled by a power of two to
// scatter near 1, so that the rounding errors of a bright series are not those of the faint one beside it.
#pragma once

#include "halves.hpp"
#include "rows.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t panel_series = 64; // at most: 256 bytes of each row
constexpr size_t block_series = 2 * lanes;
constexpr size_t panel_blocks = panel_series / block_series;
constexpr size_t chunk_rows = 16;
constexpr size_t rows_ahead = 8; // that are called into cache before they are copied

// Sums over the points of each series, about `reference`, which is one of its values. With weights, the window weighs
// the sums, and points of weight 0 do not count.
struct alignas(64) PanelMoments {
    float reference[panel_series];
    double sum[panel_series];
    double squares[panel_series];
    double count[panel_series];
    double gain[panel_series]; // of the window at these points
};

enum class Weights { equal, window };

// Series that stand in memory as rows `stride` apart.
struct Rows {
    const float* data;
    size_t n_time;
    size_t stride;
};

STARSKOPE_INLINE void add_wide(double* p, Floats x) {
    store_wide(p, load_wide(p) + lower(x));
    store_wide(p + half, load_wide(p + half) + upper(x));
}

// Sums over a chunk of one vector of series. Plain members: as elements of an array they would live in memory.
struct VectorSums {
    Floats reference, sum, squares, count, gain;
};

// Copies rows [begin, end) of `strip` vectors, 2 or 4; row of sample j is place[j] of the blocks. With gaps, missing
// values become NaN and are left out of the sums. Sums over a chunk are float32 about the reference, those of chunks
// float64. False where a value is missing that was not looked for.
template <int strip, bool gaps, Weights weights>
STARSKOPE_INLINE bool take_chunk(const Rows& rows, size_t begin, size_t end, const uint32_t* place, const float* window,
                                 float* blocks, size_t block_size, PanelMoments& moments, size_t v) {
    static_assert(strip == 2 || strip == 4);
    const auto begun = [&](size_t i) __attribute__((always_inline)) {
        return VectorSums{load<Floats>(moments.reference + (v + i) * lanes), Floats{}, Floats{}, Floats{}, Floats{}};
    };
    VectorSums s0 = begun(0), s1 = begun(1), s2{}, s3{};
    if constexpr (strip == 4) {
        s2 = begun(2);
        s3 = begun(3);
    }
    float total = 0.0f, n = 0.0f;
    for (size_t j = begin; j < end; ++j) {
        const size_t ahead = (j + rows_ahead < rows.n_time ? rows_ahead : 0) * rows.stride;
        const float* const from = rows.data + j * rows.stride + v * lanes;
        float* const to = blocks + v / 2 * block_size + place[j] * row_size<Floats>;
        const Floats w = splat(window[j]);
        const float counted = weights == Weights::equal || window[j] > 0.0f ? 1.0f : 0.0f;
        const Floats one = splat(counted);
        total += window[j];
        n += counted;
        const auto take = [&](VectorSums& s, size_t i) __attribute__((always_inline)) {
            if (v * lanes % 16 == 0 && i * lanes % 16 == 0) {
                __builtin_prefetch(from + ahead + i * lanes);
            }
            Floats d = load<Floats>(from + i * lanes) - s.reference;
            float* const here = to + i / 2 * block_size + i % 2 * lanes;
            if constexpr (gaps) {
                const Ints there = d - d == 0.0f;
                store(here, there ? d : splat(__builtin_nanf("")));
                d = there ? d : Floats{};
                s.count += there ? one : Floats{};
                s.gain += there ? w : Floats{};
            } else {
                store(here, d);
            }
            const Floats part = weights == Weights::window ? w * d : d;
            s.sum += part;
            s.squares = multiply_add(part, d, s.squares);
        };
        take(s0, 0);
        take(s1, 1);
        if constexpr (strip == 4) {
            take(s2, 2);
            take(s3, 3);
        }
    }
    if constexpr (!gaps) {
        const auto wrong = [](Floats sum) __attribute__((always_inline)) { return Ints(sum - sum != 0.0f); };
        Ints found = wrong(s0.sum) | wrong(s1.sum);
        if constexpr (strip == 4) {
            found |= wrong(s2.sum) | wrong(s3.sum);
        }
        if (any(Longs(found))) {
            return false;
        }
    }
    const auto end_of = [&](const VectorSums& s, size_t i) __attribute__((always_inline)) {
        const size_t at = (v + i) * lanes;
        add_wide(moments.sum + at, s.sum);
        add_wide(moments.squares + at, s.squares);
        add_wide(moments.count + at, gaps ? s.count : splat(n));
        add_wide(moments.gain + at, gaps ? s.gain : splat(total));
    };
    end_of(s0, 0);
    end_of(s1, 1);
    if constexpr (strip == 4) {
        end_of(s2, 2);
        end_of(s3, 3);
    }
    return true;
}

// The sums of one series in float64, where float32 could not hold its squares.
void sum_again(const Rows& rows, size_t series, const float* window, Weights weights, PanelMoments& moments) {
    const double reference = moments.reference[series];
    double sum = 0.0, squares = 0.0;
    for (size_t j = 0; j < rows.n_time; ++j) {
        const float x = rows.data[j * rows.stride + series];
        if (x - x == 0.0f) {
            const double d = x - reference, w = weights == Weights::window ? double(window[j]) : 1.0;
            sum += w * d;
            squares += w * d * d;
        }
    }
    moments.sum[series] = sum;
    moments.squares[series] = squares;
}

// Of three finite values the middle one: no single wild point becomes the reference of its series.
STARSKOPE_INLINE float middle(float a, float b, float c) {
    return a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
}

float reference_of(const Rows& rows, size_t series) {
    float found[3] = {};
    const size_t from[3] = {0, rows.n_time / 3, 2 * (rows.n_time / 3)};
    for (int i = 0; i < 3; ++i) {
        found[i] = found[i > 0 ? i - 1 : 0];
        for (size_t j = from[i]; j < rows.n_time; ++j) {
            const float x = rows.data[j * rows.stride + series];
            if (x - x == 0.0f) {
                found[i] = x;
                break;
            }
        }
    }
    return middle(found[0], found[1], found[2]);
}

// Neighbouring series, at most panel_series of them, in blocks that lie block_size floats apart. Rows hold the samples
// less the reference of their series, NaN where one is missing; padding and lanes without a series are 0.
struct Panel {
    const FftPlan* plan;
    const float* window; // (n_time,)
    float* blocks;
    size_t block_size;
    Weights weights;
    size_t n_series;
    bool gaps;
    PanelMoments moments;

    void take(const Rows& rows, size_t n) {
        n_series = n;
        gaps = false;
        moments = {};
        for (size_t i = 0; i < n_series; ++i) {
            moments.reference[i] = reference_of(rows, i);
        }
        for (size_t begin = 0; begin < rows.n_time; begin += chunk_rows) {
            const size_t end = begin + chunk_rows < rows.n_time ? begin + chunk_rows : rows.n_time;
            if (weights == Weights::equal) {
                take_rows<Weights::equal>(rows, begin, end);
            } else {
                take_rows<Weights::window>(rows, begin, end);
            }
        }
        for (size_t i = 0; i < n_series; ++i) {
            if (!(moments.squares[i] > 1e-30 * moments.count[i] && moments.squares[i] < 1e300)) {
                sum_again(rows, i, window, weights, moments);
            }
        }
        for (size_t b = 0; b * block_series < n_series; ++b) {
            for (size_t j = rows.n_time; j < plan->n; ++j) {
                store_row<Floats>(blocks + b * block_size + plan->place[j] * row_size<Floats>, {Floats{}, Floats{}});
            }
        }
    }

    // Mean of a series about its reference.
    double mean(size_t series) const {
        const double n = weights == Weights::equal ? moments.count[series] : moments.gain[series];
        return n > 0.0 ? moments.sum[series] / n : 0.0;
    }

    // Mean square about `offset` from the reference.
    double square(size_t series, double offset) const {
        const double n = weights == Weights::equal ? moments.count[series] : moments.gain[series];
        const double square = n > 0.0 ? moments.squares[series] / n + offset * (offset - 2.0 * mean(series)) : 0.0;
        return square > 0.0 ? square : 0.0;
    }

    // Puts `values` (block_series,) where a value of block b is missing.
    void fill_gaps(size_t b, const float* values, size_t n_time) {
        const Complex<Floats> fill = load_row<Floats>(values);
        for (size_t j = 0; j < n_time && gaps; ++j) {
            float* const row = blocks + b * block_size + plan->place[j] * row_size<Floats>;
            const Complex<Floats> x = load_row<Floats>(row);
            store_row<Floats>(row, {x.re == x.re ? x.re : fill.re, x.im == x.im ? x.im : fill.im});
        }
    }

  private:
    template <Weights by>
    void take_rows(const Rows& rows, size_t begin, size_t end) {
        Rows from = rows;
        size_t first = begin;
        alignas(64) float padded[chunk_rows * panel_series];
        if (n_series % block_series != 0) {
            __builtin_memset(padded, 0, sizeof padded);
            for (size_t j = begin; j < end; ++j) {
                __builtin_memcpy(padded + (j - begin) * panel_series, rows.data + j * rows.stride,
                                 n_series * sizeof(float));
            }
            from = {padded, end - begin, panel_series};
            first = 0;
        }
        const size_t shift = begin - first;
        size_t v = 0;
        for (; v * lanes + 2 * block_series <= n_series; v += 4) {
            take_strip<4, by>(from, first, end - shift, shift, v);
        }
        for (; v * lanes < n_series; v += 2) {
            take_strip<2, by>(from, first, end - shift, shift, v);
        }
    }

    template <int strip, Weights by>
    void take_strip(const Rows& from, size_t begin, size_t end, size_t shift, size_t v) {
        const uint32_t* const place = plan->place + shift;
        const float* const w = window + shift;
        if (!take_chunk<strip, false, by>(from, begin, end, place, w, blocks, block_size, moments, v)) {
            take_chunk<strip, true, by>(from, begin, end, place, w, blocks, block_size, moments, v);
            gaps = true;
        }
    }
};

// How the series of one block are brought to mean 0 and scatter near 1: row * scale - shift.
struct alignas(64) Levels {
    float scale[block_series];
    float shift[block_series];
    float fill[block_series]; // what becomes 0
};

// 2^-e with 2^e near x >= 0, within limits: of 0 a large number, so that what a series without scatter takes on from
// the one beside it is scaled to nothing.
STARSKOPE_INLINE double inverse_scale(double x) {
    constexpr int64_t limit = 120;
    int64_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    int64_t exponent = (bits >> 52 & 0x7ff) - 1023;
    exponent = exponent > limit ? limit : exponent < -limit ? -limit : exponent;
    bits = (1023 - exponent) << 52;
    __builtin_memcpy(&x, &bits, sizeof bits);
    return x;
}

// Levelled and windowed rows: what the first butterflies of a spectrum take in.
struct Levelled {
    Complex<Floats> scale, shift;
    const float* window;

    Levelled(const Levels& levels, const float* window_rows)
        : scale(load_row<Floats>(levels.scale)), shift(load_row<Floats>(levels.shift)), window(window_rows) {}

    Complex<Floats> operator()(const float* block, size_t row) const {
        const Complex<Floats> x = load_row<Floats>(block + row * row_size<Floats>);
        const Floats w = splat(window[row]);
        return {multiply_subtract(x.re, scale.re, shift.re) * w, multiply_subtract(x.im, scale.im, shift.im) * w};
    }
};

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
