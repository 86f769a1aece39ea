// A column of series that are searched rather than sorted: windows with the ranks around their medians, and tails.
#pragma once

#include "clip_search.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr double infinity = __builtin_inf();
constexpr double far_part = 0.8; // of the limits: what lies beyond may be dropped, now or later

// Columns per tile. Where 64 series fit the second cache beside the next tile, they are it. Where they do not, width
// counts: a row of few series takes as long to fetch as one of many, and columns are worked on one after the other,
// from the third cache. At least one cache line.
size_t tile_vectors(size_t n_time) {
    constexpr size_t narrow = 64, held = size_t{1} << 18, most = size_t{3} << 19; // bytes
    size_t series = narrow;
    if (n_time * narrow * sizeof(float) > held) {
        series = tile_series;
        while (series > 16 && n_time * series * sizeof(float) > most) {
            series /= 2;
        }
    }
    return series / lanes;
}

constexpr size_t window_size = window_rows + line; // odd in cache lines

struct Moments {
    Wide reference, sum, squares, summed;
};

// Sums of deviations and of their squares, as many of each as a line has values: the same on every instruction set.
struct LineSums {
    Doubles sum[line / half], squares[line / half];
};

template <bool gaps>
STARSKOPE_INLINE void add_line(const float* x, Doubles reference, LineSums& sums) {
#pragma GCC unroll 8
    for (size_t p = 0; p < line / half; ++p) {
        Doubles d = load_doubles(x + p * half) - reference;
        if constexpr (gaps) {
            d = d == d ? d : Doubles{};
        }
        sums.sum[p] += d;
        sums.squares[p] += d * d;
    }
}

// Added up by halves.
STARSKOPE_INLINE double total(const Doubles (&parts)[line / half]) {
    double s[line];
    __builtin_memcpy(s, parts, sizeof s);
    for (size_t n = line / 2; n > 0; n /= 2) {
        for (size_t i = 0; i < n; ++i) {
            s[i] += s[i + n];
        }
    }
    return s[0];
}

// `lanes` series of a job and the memory to work on them.
struct Column {
    const ClipJob& job;
    size_t first; // series
    size_t n;     // of which so many exist
    const float* values;
    Ints n_valid;
    Floats reference;
    float* sample;   // (sample_rows, lanes)
    float* spare[2]; // lists
    float* tails;    // (lanes, tail_size)
    size_t tail_size;
    float* rows; // (n_row, lanes) the same
    size_t n_row;
    float* windows;   // (lanes, window_size), unsorted
    float* sorted;    // (window_rows, lanes) keys
    Ints below, upto; // ranks in the windows
    Ints n_far;
    Floats far_low, far_high; // tails lie below and above
    SeriesTile& next;         // to be copied meanwhile

    const float* series(int lane) const { return values + size_t(lane) * line; }
    float at(int lane, size_t t) const { return series(lane)[t / line * line_stride + t % line]; }
    float* tail(int lane) const { return tails + size_t(lane) * tail_size; }
    float* window(int lane) const { return windows + size_t(lane) * window_size; }
};

// Room for the values of a series and the line behind them: an odd number of cache lines.
constexpr size_t list_size(size_t n_time) {
    return ((n_lines(n_time) + 1) | 1) * line;
}

// The value whose key stands in `row` of each lane.
STARSKOPE_INLINE Floats at_rows(const float* keys, Ints row) {
    Floats x;
    for (int i = 0; i < lanes; ++i) {
        x[i] = keys[row[i] * lanes + i];
    }
    return value_of((Ints)x);
}

// Turns lists of the series of a column, from `from` on and `stride` apart, into rows [0, n) of the column.
template <class F>
STARSKOPE_INLINE void turn_lists(const float* from, size_t stride, size_t n, float* to, F changed) {
    for (size_t k = 0; k < n; k += lanes) {
        Floats r[lanes];
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) {
            r[i] = load<Floats>(from + size_t(i) * stride + k);
        }
        turn(r);
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) {
            store(to + (k + size_t(i)) * lanes, changed(r[i]));
        }
    }
}

void sort_windows(Column& column) {
    turn_lists(column.windows, window_size, window_rows, column.sorted, [](Floats x) { return key_of(x); });
    sort_rows(column.sorted, window_rows);
}

// Ranks of the middle of [low, low + n), n > 0, and around it.
STARSKOPE_INLINE Ranks middle_ranks(int32_t low, int32_t n) {
    Ranks ranks{low + (n - 1) / 2, low + n / 2, low, low + n - 1};
    ranks.from = ranks.from > ranks.low - rank_margin ? ranks.from : ranks.low - rank_margin;
    ranks.to = ranks.to < ranks.high + rank_margin ? ranks.to : ranks.high + rank_margin;
    return ranks;
}

// Finds the window of one lane among its values in (lo, hi], n of them, above `below` others.
void find_window(Column& column, int lane, const Ranks& ranks, float lo, float hi, int32_t below_lo) {
    size_t n_lo;
    const size_t n =
        keep_between(column.series(lane), line_stride, column.job.series.n_time, lo, hi, column.spare[0], n_lo);
    const Reach reach = search(column.spare[0], {lo, hi, below_lo, n}, ranks, column.spare, column.window(lane));
    column.below[lane] = reach.below;
    column.upto[lane] = reach.upto;
}

STARSKOPE_INLINE float* append_tail(float* to, Floats x, Floats far_low, Floats far_high) {
    return append_few<4>(to, x, Bits(bits_below(x, far_low) | bits_below(far_high, x)));
}

// Packs the tails of one lane anew.
void find_tail(Column& column, int lane) {
    const Floats low = splat(column.far_low[lane]), high = splat(column.far_high[lane]);
    const float* x = column.series(lane);
    float* end = column.tail(lane);
    for (size_t left = n_lines(column.job.series.n_time); left > 0; --left, x += line_stride) {
        for (size_t i = 0; i < line; i += lanes) {
            end = append_tail(end, load<Floats>(x + i), low, high);
        }
    }
    column.n_far[lane] = int32_t(end - column.tail(lane));
}

// Turns the tails into rows; a lane that has less in its own than another one has NaN behind.
void turn_tails(Column& column) {
    int32_t longest = 0;
    for (int lane = 0; lane < lanes; ++lane) {
        longest = column.n_far[lane] > longest ? column.n_far[lane] : longest;
    }
    column.n_row = n_lines(size_t(longest)) * line;
    for (int lane = 0; lane < lanes; ++lane) {
        for (size_t k = size_t(column.n_far[lane]); k < column.n_row; k += line) {
            end_list(column.tail(lane) + k);
        }
    }
    turn_lists(column.tails, column.tail_size, column.n_row, column.rows, [](Floats x) { return x; });
}

struct Cuts {
    Floats lo, hi;            // a median is looked for in (lo, hi]
    Floats far_low, far_high; // tails
};

struct Parts {
    float* inside; // their ends
    float* far;
    size_t n_low; // values up to lo
    LineSums sums;
};

// Lines [begin, stop) of a series.
template <bool gaps>
STARSKOPE_INLINE void split_lines(const float* x, size_t begin, size_t stop, const Cuts& cuts, Doubles reference,
                                  SeriesTile& next, Parts& parts) {
    float *inside = parts.inside, *far = parts.far;
    size_t n_low = parts.n_low;
    LineSums sums = parts.sums;
    for (size_t at = begin; at < stop; ++at) {
        const float* const values = x + at * line_stride;
        call_line(next);
        for (size_t i = 0; i < line; i += lanes) {
            const Floats v = load<Floats>(values + i);
            const Bits under = bits_at_most(v, cuts.lo);
            n_low += n_set(under);
            inside = append_few<8>(inside, v, Bits(bits_at_most(v, cuts.hi) & ~under));
            far = append_tail(far, v, cuts.far_low, cuts.far_high);
        }
        add_line<gaps>(values, reference, sums);
    }
    parts = {inside, far, n_low, sums};
}

// One pass over every series of a column: windows and tails, while the next tile is copied.
void split_column(Column& column, bool needs_median, Moments& moments) {
    const ClipJob& job = column.job;
    sort_rows(column.sample, sample_rows);
    Ints n_sample{};
    for (size_t i = 0; i < sample_rows; ++i) {
        n_sample -= load<Ints>(column.sample + i * lanes) < 0x7f800000; // the key of infinity
    }
    const auto part = [&](int of_64) { return at_rows(column.sample, (n_sample * of_64) >> 6); };
    const Ints some = n_sample > 0;
    const Floats middle = part(32);
    const Floats lo = some ? part(32 - 9) : splat(-__builtin_inff()), hi = some ? part(32 + 9) : splat(largest_float);
    const Floats deviation = 0.5f * (part(53) - part(10)); // 44 of 64 lie within one to either side
    const auto limit = [](double sigma) {
        const double part_of = far_part * sigma;
        return splat(part_of < double(largest_float) ? float(part_of) : __builtin_inff());
    };
    const Floats none = splat(__builtin_inff());
    const bool clips = job.max_iters != 0;
    column.far_low = clips && job.sigma_low != infinity ? middle - limit(job.sigma_low) * deviation : -none;
    column.far_high = clips && job.sigma_high != infinity ? middle + limit(job.sigma_high) * deviation : none;
    column.far_low = some ? column.far_low : none; // everything
    column.far_low = column.far_low == column.far_low ? column.far_low : none;
    column.far_high = column.far_high == column.far_high ? column.far_high : -none;
    const size_t n_time = job.series.n_time, n_line = n_lines(n_time);
    const size_t per_chunk = size_t(chunk_rows) * tile_vectors(n_time) * lanes / line;
    for (int lane = 0; lane < int(column.n); ++lane) {
        const Cuts cuts{splat(lo[lane]), splat(hi[lane]), splat(column.far_low[lane]), splat(column.far_high[lane])};
        const Doubles reference = splat_double(column.reference[lane]);
        const float* const x = column.series(lane);
        Parts parts{column.spare[0], column.tail(lane), 0, {}};
        const size_t n_full = size_t(column.n_valid[lane]) == n_time ? n_time / line : 0;
        for (size_t begin = 0, stop; begin < n_line; begin = stop) {
            if (column.next.called >= per_chunk) {
                copy_chunk(column.next);
            }
            stop = begin + per_chunk - column.next.called;
            stop = stop < n_line ? stop : n_line;
            if (stop <= n_full) {
                split_lines<false>(x, begin, stop, cuts, reference, column.next, parts);
            } else {
                split_lines<true>(x, begin, stop, cuts, reference, column.next, parts);
            }
        }
        column.n_far[lane] = int32_t(parts.far - column.tail(lane));
        moments.sum.half[lane / half][lane % half] = total(parts.sums.sum);
        moments.squares.half[lane / half][lane % half] = total(parts.sums.squares);
        const int32_t n_valid = column.n_valid[lane];
        if (!needs_median || n_valid == 0) {
            fill_window(column.window(lane), x, 0);
            column.below[lane] = 0;
            column.upto[lane] = needs_median ? 0 : n_valid;
            continue;
        }
        end_list(parts.inside);
        const size_t n_inside = size_t(parts.inside - column.spare[0]);
        const Ranks ranks = middle_ranks(0, n_valid);
        const int32_t at_lo = int32_t(parts.n_low), at_hi = int32_t(parts.n_low + n_inside);
        if (at_lo <= ranks.from && at_hi > ranks.to) {
            const Bracket bracket{lo[lane], hi[lane], at_lo, n_inside};
            const Reach reach = search(column.spare[0], bracket, ranks, column.spare, column.window(lane));
            column.below[lane] = reach.below;
            column.upto[lane] = reach.upto;
        } else if (at_lo > ranks.to) {
            find_window(column, lane, ranks, -__builtin_inff(), lo[lane], 0);
        } else if (at_hi <= ranks.from) {
            find_window(column, lane, ranks, hi[lane], largest_float, at_hi);
        } else {
            find_window(column, lane, ranks, -__builtin_inff(), largest_float, 0);
        }
    }
    for (int lane = int(column.n); lane < lanes; ++lane) {
        fill_window(column.window(lane), column.values, 0);
        column.n_far[lane] = column.below[lane] = column.upto[lane] = 0;
    }
    if (needs_median) {
        sort_windows(column);
    }
    turn_tails(column);
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
