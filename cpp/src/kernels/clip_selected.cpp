// Statistics of the survivors of every series by searching for the few ranks that matter: for series too long to be
// sorted in the first cache.
//
// `lanes` series at a time are copied into a column, summed on the way. A sorted sample of their rows brackets the
// median; each further pass counts what lies at or below two pivots and narrows the bracket, until the
// `window_rows` smallest values above its lower end hold the median and its neighbours: those are merged out of the
// rows that reach into the bracket. Later iterations find their medians in this window. What leaves the survivors is
// found by one pass over the column, soon over those of its rows that lie far out.
//
// Sums run in order of time about the median of the sample, so every series gets the same bits whatever its neighbours
// need. Series that resist (thousands of values between two neighbouring pivots, again and again) have their column
// sorted instead; ranks are exact either way.
#include "clip_window.hpp"
#include "statistics.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr double infinity = __builtin_inf();
constexpr double far_part = 0.9;               // rows within this part of the limits are not looked at again
constexpr size_t tile_bytes = size_t{3} << 17; // of the second cache that a tile may fill; the next one fills as much

// Columns per tile: 64 series, fewer when time is long, at least one cache line.
size_t tile_vectors(size_t n_time) {
    size_t series = tile_series;
    while (series > 16 && n_time * series * sizeof(float) > tile_bytes) {
        series /= 2;
    }
    return series / lanes;
}

struct Survivors {
    Ints n_low, n_high;               // dropped from either end
    Floats least, most;               // survivors lie within
    Floats dropped_low, dropped_high; // the dropped values closest to them
};

STARSKOPE_INLINE Ints count_of(const Column& column, const Survivors& survivors) {
    return column.n_valid - survivors.n_low - survivors.n_high;
}

// Medians of the survivors; the window is moved where they left it.
Wide medians(Column& column, const Survivors& survivors, Window& window) {
    const Ints n = count_of(column, survivors);
    const Ints none = n <= 0;
    const Ints low = none ? Ints{} : survivors.n_low + ((n - 1) >> 1);
    const Ints high = none ? Ints{} : survivors.n_low + (n >> 1);
    const Ints last = column.n_valid - 1;
    if (!column.is_sorted && any(~none & ((low < window.below) | (high >= window.upto)))) {
        Ints from = low - rank_margin, to = high + rank_margin;
        from = from > survivors.n_low ? from : survivors.n_low;
        to = to < last - survivors.n_high ? to : last - survivors.n_high;
        // Nothing below `least`: a bracket is open there.
        Floats lo = survivors.least;
        for (int i = 0; i < lanes; ++i) {
            lo[i] = below(lo[i]);
        }
        Bracket bracket{lo, survivors.most, survivors.n_low, column.n_valid - survivors.n_high};
        from = none ? Ints{} : from;
        to = none ? Ints{} : to;
        bracket.below = none ? Ints{} : bracket.below;
        bracket.upto = none ? Ints{} + 1 : bracket.upto; // any window does
        find_window(column, bracket, from, to, window);
    }
    const float* const values = column.is_sorted ? column.sorted : window.values;
    const Ints origin = column.is_sorted ? Ints{} : window.below;
    const int32_t most = column.is_sorted ? int32_t(column.n_row) - 1 : int32_t(window_rows) - 1;
    Ints at_low = low - origin, at_high = high - origin;
    at_low = at_low < most ? at_low : Ints{} + most;
    at_high = at_high < most ? at_high : Ints{} + most;
    at_low = at_low > 0 ? at_low : Ints{};
    at_high = at_high > 0 ? at_high : Ints{};
    const Wide a = widened(at_rows(values, at_low)), b = widened(at_rows(values, at_high));
    return {{0.5 * (a.half[0] + b.half[0]), 0.5 * (a.half[1] + b.half[1])}};
}

// Sums of the survivors of one lane anew: their mean first, then about it.
void sum_again(const Column& column, const Survivors& survivors, int lane, Moments& moments) {
    double reference = moments.reference.half[lane / half][lane % half], sum = 0.0, squares = 0.0;
    int64_t n = 0;
    for (int pass = 0; pass < 2; ++pass) {
        sum = squares = 0.0;
        n = 0;
        for (size_t t = 0; t < column.n_row; ++t) {
            const float x = column.values[t * lanes + size_t(lane)];
            if (x >= survivors.least[lane] && x <= survivors.most[lane]) {
                const double d = double(x) - reference;
                sum += d;
                squares += d * d;
                ++n;
            }
        }
        if (pass == 0 && n > 0) {
            reference += sum / double(n);
        }
    }
    const int h = lane / half, i = lane % half;
    moments.reference.half[h][i] = reference;
    moments.sum.half[h][i] = sum;
    moments.squares.half[h][i] = squares;
    moments.summed.half[h][i] = squares;
}

// Population variances; lanes that lost digits are summed again first.
Wide variances(const Column& column, const Survivors& survivors, Moments& moments, const Wide& n) {
    Wide left;
    for (int h = 0; h < 2; ++h) {
        const auto rest = [&] {
            return moments.squares.half[h] - moments.sum.half[h] * (moments.sum.half[h] / n.half[h]);
        };
        left.half[h] = rest();
        const Longs lost = left.half[h] < least_part * moments.summed.half[h];
        if (__builtin_expect(any(lost), 0)) {
            for (int i = 0; i < half; ++i) {
                if (lost[i] && n.half[h][i] > 0.0) {
                    sum_again(column, survivors, h * half + i, moments);
                }
            }
            left.half[h] = rest();
        }
        left.half[h] = (left.half[h] < 0.0 ? Doubles{} : left.half[h]) / n.half[h];
    }
    return left;
}

// Drops survivors outside [lower, upper] found among n_row rows. Returns whether anything went.
bool drop(const float* rows, size_t n_row, Floats lower, Floats upper, Survivors& survivors, Moments& moments) {
    Ints n_low{}, n_high{};
    const auto row = [&](Floats x) __attribute__((always_inline)) {
        const Ints low = (x < lower) & (x >= survivors.least), high = (x > upper) & (x <= survivors.most);
        if (!any(low | high)) {
            return;
        }
        n_low -= low;
        n_high -= high;
        survivors.dropped_low = low ? greater(survivors.dropped_low, x) : survivors.dropped_low;
        survivors.dropped_high = high ? lesser(survivors.dropped_high, x) : survivors.dropped_high;
        const Wide value = widened(low | high ? x : splat(__builtin_nanf("")));
        for (int h = 0; h < 2; ++h) {
            Doubles d = value.half[h] - moments.reference.half[h];
            d = d == d ? d : Doubles{};
            moments.sum.half[h] -= d;
            moments.squares.half[h] -= d * d;
        }
    };
    size_t t = 0;
    for (; t + 3 < n_row; t += 4) { // few rows have anything to drop
        Floats x[4];
        Ints out{};
#pragma GCC unroll 4
        for (size_t k = 0; k < 4; ++k) {
            x[k] = load<Floats>(rows + (t + k) * lanes);
            out |= (x[k] < lower) | (x[k] > upper);
        }
        if (any(out)) {
            for (size_t k = 0; k < 4; ++k) {
                row(x[k]);
            }
        }
    }
    for (; t < n_row; ++t) {
        row(load<Floats>(rows + t * lanes));
    }
    survivors.n_low += n_low;
    survivors.n_high += n_high;
    survivors.least = greater(survivors.least, lower);
    survivors.most = lesser(survivors.most, upper);
    return any(n_low | n_high);
}

// Copies the rows in which some lane lies outside [lower, upper]. Returns how many.
size_t gather_far(const Column& column, Floats lower, Floats upper) {
    float* end = column.rows;
    for (size_t t = 0; t < column.n_row; ++t) {
        Floats x = load<Floats>(column.values + t * lanes);
        const size_t step = any((x < lower) | (x > upper)) ? lanes : 0;
        barrier(x); // else the compiler compares what was just stored, and each row waits for the one before
        store(end, x);
        end += step;
    }
    return size_t(end - column.rows) / lanes;
}

void readmit(const Column& column, const Wide& lower, const Wide& upper, Survivors& survivors, Moments& moments) {
    for (int lane = 0; lane < lanes; ++lane) {
        const double low = lower.half[lane / half][lane % half], high = upper.half[lane / half][lane % half];
        const bool again = double(survivors.dropped_low[lane]) >= low || double(survivors.dropped_high[lane]) <= high;
        if (again && column.n_valid[lane] > survivors.n_low[lane] + survivors.n_high[lane]) {
            survivors.least[lane] = not_below(low);
            survivors.most[lane] = high < double(largest_float) ? not_above(high) : largest_float;
            int32_t n_low = 0, n_high = 0;
            for (size_t t = 0; t < column.n_row; ++t) {
                const float x = column.values[t * lanes + size_t(lane)];
                n_low += x < survivors.least[lane];
                n_high += x > survivors.most[lane];
            }
            survivors.n_low[lane] = n_low;
            survivors.n_high[lane] = n_high;
            sum_again(column, survivors, lane, moments);
        }
    }
}

void reduce_column(Column& column, float* sample, Window& window) {
    const ClipJob& job = column.job;
    Moments moments;
    Pivots pivots;
    const Ints n_sample = take_sample(column, sample);
    const Ints some = n_sample > 0, middle = n_sample >> 1, reach = n_sample * 3 >> 4;
    const Ints top = some ? n_sample - 1 : Ints{}, upper_rank = middle + reach;
    pivots.low = some ? at_rows(sample, middle - reach) : Floats{};
    pivots.high = some ? at_rows(sample, upper_rank < top ? upper_rank : top) : Floats{};
    sum_column(column, some ? at_rows(sample, middle < top ? middle : top) : Floats{}, moments, pivots);
    Survivors survivors{
        Ints{}, Ints{}, splat(-largest_float), splat(largest_float), splat(-__builtin_inff()), splat(__builtin_inff())};
    const Ints n_valid = column.n_valid;
    if (job.median != nullptr || job.center_median) {
        const Ints none = n_valid == 0;
        Ints from = ((n_valid - 1) >> 1) - rank_margin, to = (n_valid >> 1) + rank_margin;
        from = from > 0 ? from : Ints{};
        to = to < n_valid - 1 ? to : n_valid - 1;
        to = none ? Ints{} : to;
        Bracket bracket{splat(-__builtin_inff()), splat(largest_float), Ints{}, none ? Ints{} + 1 : n_valid};
        narrow(bracket, pivots.low, pivots.at_most_low, from, to);
        narrow(bracket, pivots.high, pivots.at_most_high, from, to);
        find_window(column, bracket, from, to, window);
    }
    Wide lower{{splat_double(-infinity), splat_double(-infinity)}};
    Wide upper{{splat_double(infinity), splat_double(infinity)}};
    Floats core_low{}, core_high{};
    size_t n_far = 0;
    bool has_far = false;
    for (int iteration = 0; iteration != job.max_iters; ++iteration) {
        const Wide n = widened(count_of(column, survivors));
        const Wide variance = variances(column, survivors, moments, n);
        const Wide median = job.center_median ? medians(column, survivors, window) : Wide{};
        Floats low, high, near_low, near_high;
        for (int h = 0; h < 2; ++h) {
            const Doubles std = square_root(variance.half[h]);
            const Doubles center =
                job.center_median ? median.half[h] : moments.reference.half[h] + moments.sum.half[h] / n.half[h];
            if (job.sigma_low != infinity) {
                lower.half[h] = center - job.sigma_low * std;
            }
            if (job.sigma_high != infinity) {
                upper.half[h] = center + job.sigma_high * std;
            }
            for (int i = 0; i < half; ++i) {
                const int lane = h * half + i;
                low[lane] = not_below(lower.half[h][i]);
                high[lane] = not_above(upper.half[h][i]);
                near_low[lane] = float(center[i] - far_part * (center[i] - lower.half[h][i]));
                near_high[lane] = float(center[i] + far_part * (upper.half[h][i] - center[i]));
            }
        }
        if (has_far && any((low > core_low) | (high < core_high))) {
            has_far = false;
        }
        bool changed;
        if (!has_far && iteration == 1) {
            core_low = near_low;
            core_high = near_high;
            n_far = gather_far(column, core_low, core_high);
            has_far = true;
        }
        changed = has_far ? drop(column.rows, n_far, low, high, survivors, moments)
                          : drop(column.values, column.n_row, low, high, survivors, moments);
        if (!changed) {
            break;
        }
    }
    if (job.max_iters != 0) {
        readmit(column, lower, upper, survivors, moments);
    }
    const Ints count = count_of(column, survivors);
    const Wide n = widened(count);
    const Wide variance = variances(column, survivors, moments, n);
    const Wide median = job.median != nullptr ? medians(column, survivors, window) : Wide{};
    for (int h = 0; h < 2; ++h) {
        const size_t series = column.first + size_t(h * half), n_series = job.series.n_series;
        write(job.mean, series, n_series,
              known(moments.reference.half[h] + moments.sum.half[h] / n.half[h], n.half[h]));
        write(job.std, series, n_series, known(square_root(variance.half[h]), n.half[h]));
        write(job.count, series, n_series, n.half[h]);
        write(job.median, series, n_series, known(median.half[h], n.half[h]));
        write_bounds(job, series, lower.half[h], upper.half[h], n.half[h]);
    }
}

} // namespace

size_t clip_selected_scratch(size_t n_time) {
    const size_t for_tiles = 2 * (n_time + 1) * tile_vectors(n_time) * lanes;
    return for_tiles + (n_time + 1 + padded_rows(n_time) + run_rows + sample_rows + window_rows) * lanes;
}

void clip_selected(const ClipJob& job) {
    const SeriesRows& series = job.series;
    const size_t n_time = series.n_time, step = tile_vectors(n_time) * lanes;
    float* const sample = job.scratch;
    Window window{sample + sample_rows * lanes, Ints{}, Ints{}};
    float* const rows = window.values + window_rows * lanes;
    float* const sorted = rows + (n_time + 1) * lanes;
    float* const columns = sorted + (padded_rows(n_time) + run_rows) * lanes;
    Tile tiles[2];
    for (int i = 0; i < 2; ++i) {
        tiles[i].rows = &series;
        tiles[i].values = columns + size_t(i) * (n_time + 1) * step;
        tiles[i].n_row = n_time + 1; // columns a row apart: no power of two
    }
    start_tile(tiles[0], 0, step);
    for (size_t first = 0; first < series.n_series; first += step) {
        Tile& tile = tiles[first / step % 2];
        Tile& next = tiles[1 - first / step % 2];
        copy_rows<false>(tile, n_time);
        start_tile(next, first + step, step);
        for (size_t v = 0; v * lanes < tile.n; ++v) {
            const size_t n = tile.n - v * lanes;
            Column column{job,
                          first + v * lanes,
                          n < size_t(lanes) ? n : size_t(lanes),
                          n_time,
                          tile.values + v * tile.n_row * lanes,
                          rows,
                          sorted,
                          false,
                          tile.counts[v],
                          next};
            window.below = window.upto = Ints{};
            reduce_column(column, sample, window);
        }
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
