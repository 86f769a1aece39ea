// Statistics of the survivors of every series by sorting it once.
//
// Tiles of series are copied into scratch, every lane is sorted along time (missing values end up last), and from then
// on the survivors of a series are a range [low, high) of its column: the median is one or two elements, an iteration
// moves the two ends inward, and the sums are corrected for the few values that left. Sums are float64 about a value of
// the series itself. Where so much left that a corrected sum has lost digits it is taken anew. Iterations go round all
// columns of a tile in turn: one waits for its square root while another is at work.
#include "sort.hpp"
#include "statistics.hpp"
#include "tile.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr double infinity = __builtin_inf();
constexpr size_t tile_bytes = size_t{1} << 20; // beyond this tiles become narrower

constexpr size_t padded_rows(size_t n_time) {
    return (n_time + run_rows - 1) / run_rows * run_rows;
}

// Half vectors per tile: 64 series, fewer when time is long, at least one cache line.
size_t tile_vectors(size_t n_time) {
    const size_t series = padded_rows(n_time) * tile_series * sizeof(float) > tile_bytes ? 16 : tile_series;
    return series / lanes;
}

struct Moments {
    Doubles sum;     // of x - reference
    Doubles squares; // of (x - reference)^2
    Doubles summed;  // squares when they were last summed in full
    Doubles reference;
};

// Survivors of `half` series: rows [low, high) of a sorted column, rows `lanes` apart.
struct Range {
    Longs low;
    Longs high;
};

STARSKOPE_INLINE Doubles count_of(const Range& range) {
    return __builtin_convertvector(range.high - range.low, Doubles);
}

STARSKOPE_INLINE Doubles medians(const float* column, const Range& range) {
    Doubles median;
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {
        const int64_t n = range.high[i] - range.low[i];
        const float* x = column + range.low[i] * lanes + i;
        median[i] = n > 0 ? 0.5 * (double(value_at(x + (n - 1) / 2 * lanes)) + double(value_at(x + n / 2 * lanes)))
                          : __builtin_nan("");
    }
    return median;
}

// Sums of one series in full, about its own middle value.
void sum_again(const float* column, const Range& range, int i, Moments& moments) {
    const int64_t low = range.low[i], high = range.high[i];
    const double reference = value_at(column + (low + high) / 2 * lanes + i);
    double sum = 0.0, squares = 0.0;
    for (int64_t row = low; row < high; ++row) {
        const double d = value_at(column + row * lanes + i) - reference;
        sum += d;
        squares += d * d;
    }
    moments.reference[i] = reference;
    moments.sum[i] = sum;
    moments.squares[i] = squares;
    moments.summed[i] = squares;
}

// Population variance; lanes that lost digits are summed again first.
STARSKOPE_INLINE Doubles variances(const float* column, const Range& range, Moments& moments) {
    const Doubles n = count_of(range);
    Doubles mean = moments.sum / n;
    Doubles left = moments.squares - moments.sum * mean;
    const Longs lost = left < least_part * moments.summed;
    if (__builtin_expect(any(lost), 0)) {
        for (int i = 0; i < half; ++i) {
            if (lost[i] && range.high[i] > range.low[i]) {
                sum_again(column, range, i, moments);
            }
        }
        mean = moments.sum / n;
        left = moments.squares - moments.sum * mean;
    }
    left = left < 0.0 ? Doubles{} : left;
    return left / n;
}

// Sums a column while the next tile is copied.
STARSKOPE_INLINE Moments sums(const float* column, const Range& range, Tile& next) {
    Moments moments{};
    int64_t shortest = range.high[0], longest = range.high[0];
    for (int i = 0; i < half; ++i) {
        shortest = range.high[i] < shortest ? range.high[i] : shortest;
        longest = range.high[i] > longest ? range.high[i] : longest;
        moments.reference[i] = range.high[i] > 0 ? double(value_at(column + range.high[i] / 2 * lanes + i)) : 0.0;
    }
    const Doubles reference = moments.reference;
    Doubles sum{}, squares{}, odd_sum{}, odd_squares{}; // two of each, so that additions need not wait for the last one
    int64_t row = 0;
    for (; row + 1 < shortest; row += 2) {
        if (row % 32 == 0) {
            copy_rows<true>(next, 4);
        }
        const Doubles d = values_at(column + row * lanes) - reference;
        const Doubles e = values_at(column + (row + 1) * lanes) - reference;
        sum += d;
        squares += d * d;
        odd_sum += e;
        odd_squares += e * e;
    }
    for (; row < longest; ++row) {
        const Doubles x = values_at(column + row * lanes);
        const Doubles d = row < range.high ? x - reference : Doubles{};
        sum += d;
        squares += d * d;
    }
    moments.sum = sum + odd_sum;
    moments.squares = squares + odd_squares;
    moments.summed = moments.squares;
    return moments;
}

// Drops rows outside [lower, upper] from the ends of the ranges. Returns whether anything went.
STARSKOPE_INLINE bool trim(const float* column, Doubles lower, Doubles upper, Range& range, Moments& moments,
                           Doubles& dropped_low, Doubles& dropped_high) {
    bool changed = false;
    int64_t row = range.low[0], last = range.high[0];
    for (int i = 1; i < half; ++i) {
        row = range.low[i] < row ? range.low[i] : row;
        last = range.high[i] > last ? range.high[i] : last;
    }
    for (;; ++row) {
        const Doubles x = values_at(column + row * lanes);
        // A column is sorted: a lane whose range starts later, or whose row is low enough, may have more to drop.
        const Longs below = (x < lower) & (row < range.high);
        const Longs drop = below & (row >= range.low);
        if (!any(below | ((row < range.low) & (row < range.high)))) {
            break;
        }
        if (any(drop)) {
            const Doubles d = drop ? x - moments.reference : Doubles{};
            moments.sum -= d;
            moments.squares -= d * d;
            range.low -= drop;
            dropped_low = drop ? x : dropped_low;
            changed = true;
        }
    }
    for (row = last - 1; row >= 0; --row) {
        const Doubles x = values_at(column + row * lanes);
        const Longs above = (x > upper) & (row >= range.low);
        const Longs drop = above & (row < range.high);
        if (!any(above | ((row >= range.high) & (row >= range.low)))) {
            break;
        }
        if (any(drop)) {
            const Doubles d = drop ? x - moments.reference : Doubles{};
            moments.sum -= d;
            moments.squares -= d * d;
            range.high += drop;
            dropped_high = drop ? x : dropped_high;
            changed = true;
        }
    }
    return changed;
}

// The bounds of the last iteration decide: values dropped earlier that lie within them count again.
void readmit(const float* column, Doubles lower, Doubles upper, Longs again, const Longs n_valid, Range& range,
             Moments& moments) {
    for (int i = 0; i < half; ++i) {
        if (again[i] && range.high[i] > range.low[i]) {
            while (range.low[i] > 0 && double(value_at(column + (range.low[i] - 1) * lanes + i)) >= lower[i]) {
                --range.low[i];
            }
            while (range.high[i] < n_valid[i] && double(value_at(column + range.high[i] * lanes + i)) <= upper[i]) {
                ++range.high[i];
            }
            sum_again(column, range, i, moments);
        }
    }
}

// Rank `k` and the next one of |x - middle| over the sorted rows [low, high) of lane i, averaged where n is even: the
// deviations below the middle row and those above it are two sorted sequences.
double absolute_deviation(const float* column, int64_t low, int64_t high, int i, double middle) {
    const int64_t n = high - low, k = (n - 1) / 2, split = (low + high) / 2;
    const int64_t n_left = split - low, n_right = high - split;
    const auto left = [&](int64_t at) {
        return at < n_left ? middle - double(value_at(column + (split - 1 - at) * lanes + i)) : infinity;
    };
    const auto right = [&](int64_t at) {
        return at < n_right ? double(value_at(column + (split + at) * lanes + i)) - middle : infinity;
    };
    int64_t least = k > n_right ? k - n_right : 0, most = k < n_left ? k : n_left; // of the k smallest, how many left
    while (least < most) {
        const int64_t at = (least + most) / 2;
        if (left(at) < right(k - at - 1)) {
            least = at + 1;
        } else {
            most = at;
        }
    }
    const double a = left(least), b = right(k - least), first = a <= b ? a : b;
    if (n % 2 == 1) {
        return first;
    }
    const double c = a <= b ? left(least + 1) : a, d = a <= b ? b : right(k - least + 1);
    return 0.5 * (first + (c <= d ? c : d));
}

// What a normal distribution has for standard deviation where this is its median absolute deviation: 1 / Phi^-1(3/4).
constexpr double deviations_per_mad = 1.482602218505602;

Doubles scaled_mads(const float* column, const Range& range, Doubles median) {
    Doubles scale;
    for (int i = 0; i < half; ++i) {
        scale[i] = range.high[i] > range.low[i]
                       ? deviations_per_mad * absolute_deviation(column, range.low[i], range.high[i], i, median[i])
                       : __builtin_nan("");
    }
    return scale;
}

// `half` series sorted in `column`, between iterations.
struct Group {
    const float* column;
    size_t series; // the first of them
    Longs n_valid;
    Range range;
    Moments moments;
    Doubles lower, upper; // bounds of the last iteration
    Doubles dropped_low, dropped_high;
    bool settled;
};

STARSKOPE_INLINE void iterate(const ClipJob& job, Group& group) {
    const bool needs_median = job.center_median || job.scale_mad;
    const Doubles median = needs_median ? medians(group.column, group.range) : Doubles{};
    const Doubles scale = job.scale_mad ? scaled_mads(group.column, group.range, median)
                                        : square_root(variances(group.column, group.range, group.moments));
    const Doubles center =
        job.center_median ? median : group.moments.reference + group.moments.sum / count_of(group.range);
    if (job.sigma_low != infinity) {
        group.lower = center - job.sigma_low * scale;
    }
    if (job.sigma_high != infinity) {
        group.upper = center + job.sigma_high * scale;
    }
    group.settled = !trim(group.column, group.lower, group.upper, group.range, group.moments, group.dropped_low,
                          group.dropped_high);
}

void finish(const ClipJob& job, Group& group) {
    Range& range = group.range;
    const Longs again = (group.dropped_low >= group.lower) | (group.dropped_high <= group.upper);
    if (job.max_iters != 0 && any(again)) {
        readmit(group.column, group.lower, group.upper, again, group.n_valid, range, group.moments);
    }
    const Doubles variance = variances(group.column, range, group.moments);
    const Doubles n = count_of(range);
    write(job.mean, group.series, job.series.n_series, known(group.moments.reference + group.moments.sum / n, n));
    write(job.std, group.series, job.series.n_series, known(square_root(variance), n));
    write(job.count, group.series, job.series.n_series, range.high - range.low);
    if (job.median != nullptr) {
        write(job.median, group.series, job.series.n_series, medians(group.column, range));
    }
    write_bounds(job, group.series, group.lower, group.upper, n);
}

} // namespace

size_t clip_sorted_scratch(size_t n_time) {
    return 2 * (padded_rows(n_time) + 1) * tile_vectors(n_time) * lanes;
}

void clip_sorted(const ClipJob& job) {
    const SeriesRows& series = job.series;
    const size_t n_row = padded_rows(series.n_time);
    const size_t step = tile_vectors(series.n_time) * lanes;
    Tile tiles[2];
    for (int i = 0; i < 2; ++i) {
        tiles[i].rows = &series;
        tiles[i].values = job.scratch + size_t(i) * (n_row + 1) * step;
        tiles[i].n_row = n_row;
    }
    Group groups[tile_series / half];
    start_tile(tiles[0], 0, step);
    for (size_t first = 0; first < series.n_series; first += step) {
        Tile& tile = tiles[first / step % 2];
        Tile& next = tiles[1 - first / step % 2];
        copy_rows<true>(tile, series.n_time);
        start_tile(next, first + step, step);
        size_t n_group = 0;
        for (size_t v = 0; v * lanes < tile.n; ++v) {
            float* const column = tile.values + v * n_row * lanes;
            for (size_t row = series.n_time; row < n_row; ++row) {
                store(column + row * lanes, Ints{} + greatest_key);
            }
            sort_rows(column, n_row);
            for (size_t h = 0; h < 2 && v * lanes + h * half < tile.n; ++h) {
                Group& group = groups[n_group++];
                group.column = column + h * half;
                group.series = first + v * lanes + h * half;
                for (int i = 0; i < half; ++i) {
                    group.n_valid[i] = tile.counts[v][int(h) * half + i];
                }
                group.range = {Longs{}, group.n_valid};
                group.moments = sums(group.column, group.range, next);
                group.dropped_low = group.lower = splat_double(-infinity);
                group.dropped_high = group.upper = splat_double(infinity);
                group.settled = false;
            }
        }
        bool changed = true;
        for (int iteration = 0; changed && iteration != job.max_iters; ++iteration) {
            changed = false;
            for (size_t g = 0; g < n_group; ++g) {
                if (!groups[g].settled) {
                    iterate(job, groups[g]);
                    changed |= !groups[g].settled;
                }
            }
        }
        for (size_t g = 0; g < n_group; ++g) {
            finish(job, groups[g]);
        }
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
