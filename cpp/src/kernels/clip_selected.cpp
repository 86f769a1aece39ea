// Statistics of the survivors of every series by searching for the few ranks that matter: for series too long to be
// sorted in the first cache.
//
// Series are copied line by line, `lanes` of them at a time. A sorted sample of each brackets
// its median and tells where its tails begin. One pass over a series sums it, counts what lies below the bracket, packs
// what lies in it, and packs the tails; the bracket is narrowed until it fits a window, which is sorted. From there on
// the series of a column are lanes again: iterations find their medians in the window and what they drop in the tails.
//
// Sums are taken about a value of the series itself, 16 at a time on every processor, so every series gets the same
// bits whatever its neighbours need. Ranks are exact: a series whose median leaves the window is searched again.
#include "clip_column.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

struct Survivors {
    Ints n_low, n_high;               // dropped from either end
    Floats least, most;               // survivors lie within
    Floats dropped_low, dropped_high; // the dropped values closest to them
};

STARSKOPE_INLINE Ints count_of(const Column& column, const Survivors& survivors) {
    return column.n_valid - survivors.n_low - survivors.n_high;
}

// Medians of the survivors; the window is moved where they left it.
Wide medians(Column& column, const Survivors& survivors) {
    const Ints n = count_of(column, survivors);
    const Ints none = n <= 0;
    const Ints low = none ? Ints{} : survivors.n_low + ((n - 1) >> 1);
    const Ints high = none ? Ints{} : survivors.n_low + (n >> 1);
    const Ints left = ~none & ((low < column.below) | (high >= column.upto));
    if (any(left)) {
        for (int lane = 0; lane < lanes; ++lane) {
            if (left[lane]) {
                find_window(column, lane, middle_ranks(survivors.n_low[lane], n[lane]), below(survivors.least[lane]),
                            survivors.most[lane], survivors.n_low[lane]);
            }
        }
        sort_windows(column);
    }
    const Ints last = Ints{} + int32_t(window_rows) - 1;
    Ints at_low = low - column.below, at_high = high - column.below;
    at_low = at_low < last ? at_low : last; // all the same there
    at_high = at_high < last ? at_high : last;
    at_low = none ? Ints{} : at_low;
    at_high = none ? Ints{} : at_high;
    const Wide a = widened(at_rows(column.sorted, at_low)), b = widened(at_rows(column.sorted, at_high));
    return {{0.5 * (a.half[0] + b.half[0]), 0.5 * (a.half[1] + b.half[1])}};
}

// Sums of the survivors of one lane anew: their mean first, then about it.
void sum_again(const Column& column, const Survivors& survivors, int lane, Moments& moments) {
    double reference = moments.reference.half[lane / half][lane % half], sum = 0.0, squares = 0.0;
    int64_t n = 0;
    for (int pass = 0; pass < 2; ++pass) {
        sum = squares = 0.0;
        n = 0;
        for (size_t t = 0; t < column.job.series.n_time; ++t) {
            const float x = column.at(lane, t);
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

// Drops survivors outside [lower, upper]; all of them are in the tails. Returns whether anything went.
bool drop(const Column& column, Floats lower, Floats upper, Survivors& survivors, Moments& moments) {
    Ints n_low{}, n_high{};
    for (size_t t = 0; t < column.n_row; ++t) {
        const Floats x = load<Floats>(column.rows + t * lanes);
        const Ints low = (x < lower) & (x >= survivors.least), high = (x > upper) & (x <= survivors.most);
        if (!any(low | high)) {
            continue;
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
    }
    survivors.n_low += n_low;
    survivors.n_high += n_high;
    survivors.least = greater(survivors.least, lower);
    survivors.most = lesser(survivors.most, upper);
    return any(n_low | n_high);
}

void readmit(const Column& column, const Wide& lower, const Wide& upper, Survivors& survivors, Moments& moments) {
    for (int lane = 0; lane < lanes; ++lane) {
        const double low = lower.half[lane / half][lane % half], high = upper.half[lane / half][lane % half];
        const bool again = double(survivors.dropped_low[lane]) >= low || double(survivors.dropped_high[lane]) <= high;
        if (again && column.n_valid[lane] > survivors.n_low[lane] + survivors.n_high[lane]) {
            survivors.least[lane] = not_below(low);
            survivors.most[lane] = high < double(largest_float) ? not_above(high) : largest_float;
            int32_t n_low = 0, n_high = 0;
            for (size_t t = 0; t < column.job.series.n_time; ++t) {
                const float x = column.at(lane, t);
                n_low += x < survivors.least[lane];
                n_high += x > survivors.most[lane];
            }
            survivors.n_low[lane] = n_low;
            survivors.n_high[lane] = n_high;
            sum_again(column, survivors, lane, moments);
        }
    }
}

void reduce_column(Column& column) {
    const ClipJob& job = column.job;
    Moments moments{widened(column.reference), {}, {}, {}};
    split_column(column, job.median != nullptr || job.center_median, moments);
    moments.summed = moments.squares;
    Survivors survivors{
        Ints{}, Ints{}, splat(-largest_float), splat(largest_float), splat(-__builtin_inff()), splat(__builtin_inff())};
    Wide lower{{splat_double(-infinity), splat_double(-infinity)}};
    Wide upper{{splat_double(infinity), splat_double(infinity)}};
    for (int iteration = 0; iteration != job.max_iters; ++iteration) {
        const Wide n = widened(count_of(column, survivors));
        const Wide variance = variances(column, survivors, moments, n);
        const Wide median = job.center_median ? medians(column, survivors) : Wide{};
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
        const Ints nearer = (low > column.far_low) | (high < column.far_high);
        if (any(nearer)) {
            column.far_low = nearer ? near_low : column.far_low;
            column.far_high = nearer ? near_high : column.far_high;
            for (int lane = 0; lane < lanes; ++lane) {
                if (nearer[lane]) {
                    find_tail(column, lane);
                }
            }
            turn_tails(column);
        }
        if (!drop(column, low, high, survivors, moments)) {
            break;
        }
    }
    if (job.max_iters != 0) {
        readmit(column, lower, upper, survivors, moments);
    }
    const Ints count = count_of(column, survivors);
    const Wide n = widened(count);
    const Wide variance = variances(column, survivors, moments, n);
    const Wide median = job.median != nullptr ? medians(column, survivors) : Wide{};
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
    const size_t n_vector = tile_vectors(n_time), list = list_size(n_time);
    const size_t for_tiles = 2 * n_vector * (column_size(n_time) + sample_rows * lanes);
    return for_tiles + (window_rows + window_size + 2 * list) * lanes + 2 * list;
}

void clip_selected(const ClipJob& job) {
    const SeriesRows& series = job.series;
    const size_t n_time = series.n_time, n_vector = tile_vectors(n_time), step = n_vector * lanes;
    const size_t size = column_size(n_time), list = list_size(n_time);
    float* scratch = job.scratch;
    const auto lend = [&scratch](size_t n) {
        float* const lent = scratch;
        scratch += n;
        return lent;
    };
    SeriesTile tiles[2];
    for (SeriesTile& tile : tiles) {
        tile.rows = &series;
        tile.values = lend(n_vector * size);
        tile.sample = lend(step * sample_rows);
    }
    float* const sorted = lend(window_rows * lanes);
    float* const windows = lend(window_size * lanes);
    float* const rows = lend(list * lanes);
    float* const tails = lend(list * lanes);
    float* const spare[2] = {lend(list), lend(list)};
    start_tile(tiles[0], 0, step);
    for (size_t first = 0; first < series.n_series; first += step) {
        SeriesTile& tile = tiles[first / step % 2];
        SeriesTile& next = tiles[1 - first / step % 2];
        while (tile.done < n_time) {
            copy_chunk(tile);
        }
        start_tile(next, first + step, step);
        for (size_t v = 0; v * lanes < tile.n; ++v) {
            const size_t n = tile.n - v * lanes;
            Column column{job,
                          first + v * lanes,
                          n < size_t(lanes) ? n : size_t(lanes),
                          tile.values + v * size,
                          tile.n_valid[v],
                          tile.reference[v],
                          tile.sample + v * sample_rows * lanes,
                          {spare[0], spare[1]},
                          tails,
                          list,
                          rows,
                          0,
                          windows,
                          sorted,
                          Ints{},
                          Ints{},
                          Ints{},
                          Floats{},
                          Floats{},
                          next};
            reduce_column(column);
        }
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
