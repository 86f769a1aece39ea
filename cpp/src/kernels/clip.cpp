// Statistics of the survivors of every series, clipped or not.
//
// Clipping: tiles of series are copied into scratch, every lane is sorted along time once (missing values become
// infinite and end up last), and from then on the survivors of a series are a range [low, high) of its column: the
// median is one or two elements, an iteration moves the two ends inward, and the sums are corrected for the few values
// that left. Sums are float64 about a value of the series itself. Where so much left that a corrected sum has lost
// digits it is taken anew. Without clipping and without a median nothing needs sorting: one pass over the rows in
// place.
#include "sort.hpp"
#include "statistics.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr double infinity = __builtin_inf();
constexpr size_t tile_series = 64;
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
        median[i] = n > 0 ? 0.5 * (double(x[(n - 1) / 2 * lanes]) + double(x[n / 2 * lanes])) : __builtin_nan("");
    }
    return median;
}

// Sums of one series in full, about its own middle value.
void sum_again(const float* column, const Range& range, int i, Moments& moments) {
    const int64_t low = range.low[i], high = range.high[i];
    const double reference = column[(low + high) / 2 * lanes + i];
    double sum = 0.0, squares = 0.0;
    for (int64_t row = low; row < high; ++row) {
        const double d = column[row * lanes + i] - reference;
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

// While a column is summed, the memory that the next tile will be copied from is called into cache: line `v` of each
// row.
struct Ahead {
    const float* line; // null: nothing to call
    size_t row_stride;
};

STARSKOPE_INLINE Moments sums(const float* column, const Range& range, Ahead ahead) {
    Moments moments{};
    int64_t shortest = range.high[0], longest = range.high[0];
    for (int i = 0; i < half; ++i) {
        shortest = range.high[i] < shortest ? range.high[i] : shortest;
        longest = range.high[i] > longest ? range.high[i] : longest;
        moments.reference[i] = range.high[i] > 0 ? double(column[range.high[i] / 2 * lanes + i]) : 0.0;
    }
    const Doubles reference = moments.reference;
    Doubles sum{}, squares{}, odd_sum{}, odd_squares{}; // two of each, so that additions need not wait for the last one
    int64_t row = 0;
    for (; row + 1 < shortest; row += 2) {
        if (ahead.line != nullptr) {
            __builtin_prefetch(ahead.line, 0, 2);
            __builtin_prefetch(ahead.line + ahead.row_stride, 0, 2);
            ahead.line += 2 * ahead.row_stride;
        }
        const Doubles d = load_doubles(column + row * lanes) - reference;
        const Doubles e = load_doubles(column + (row + 1) * lanes) - reference;
        sum += d;
        squares += d * d;
        odd_sum += e;
        odd_squares += e * e;
    }
    for (; row < longest; ++row) {
        const Doubles x = load_doubles(column + row * lanes);
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
        const Doubles x = load_doubles(column + row * lanes);
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
        const Doubles x = load_doubles(column + row * lanes);
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
            while (range.low[i] > 0 && column[(range.low[i] - 1) * lanes + i] >= lower[i]) {
                --range.low[i];
            }
            while (range.high[i] < n_valid[i] && column[range.high[i] * lanes + i] <= upper[i]) {
                ++range.high[i];
            }
            sum_again(column, range, i, moments);
        }
    }
}

// `half` series from `series` on, sorted in `column` with n_valid values each.
void reduce_sorted(const ClipJob& job, const float* column, Longs n_valid, size_t series, Ahead ahead) {
    Range range{Longs{}, n_valid};
    Moments moments = sums(column, range, ahead);
    Doubles lower = splat_double(-infinity), upper = splat_double(infinity);
    Doubles dropped_low = lower, dropped_high = upper;
    for (int iteration = 0; iteration != job.max_iters; ++iteration) {
        const Doubles std = square_root(variances(column, range, moments));
        const Doubles center =
            job.center_median ? medians(column, range) : moments.reference + moments.sum / count_of(range);
        if (job.sigma_low != infinity) {
            lower = center - job.sigma_low * std;
        }
        if (job.sigma_high != infinity) {
            upper = center + job.sigma_high * std;
        }
        if (!trim(column, lower, upper, range, moments, dropped_low, dropped_high)) {
            break;
        }
    }
    const Longs again = (dropped_low >= lower) | (dropped_high <= upper);
    if (job.max_iters != 0 && any(again)) {
        readmit(column, lower, upper, again, n_valid, range, moments);
    }
    const Doubles variance = variances(column, range, moments);
    const Doubles n = count_of(range);
    write(job.mean, series, job.n_series, known(moments.reference + moments.sum / n, n));
    write(job.std, series, job.n_series, known(square_root(variance), n));
    write(job.count, series, job.n_series, range.high - range.low);
    if (job.median != nullptr) {
        write(job.median, series, job.n_series, medians(column, range));
    }
}

// Copies series [first, first + n) into columns of `lanes` series each, n_row rows long; missing becomes infinite.
// counts: values that are there, per series.
void copy_tile(const ClipJob& job, size_t first, size_t n, float* tile, size_t n_row, Ints* counts) {
    const Floats infinite = splat(__builtin_inff());
    const size_t n_vector = (n + lanes - 1) / lanes;
    for (size_t v = 0; v < n_vector; ++v) {
        counts[v] = Ints{};
    }
    for (size_t row = 0; row < job.n_time; ++row) {
        const float* from = job.data + row * job.row_stride + first;
        float* to = tile + row * lanes;
        for (size_t v = 0; v < n_vector; ++v, from += lanes, to += n_row * lanes) {
            Floats x;
            if ((v + 1) * lanes <= n) {
                x = load<Floats>(from);
            } else {
                x = infinite;
                __builtin_memcpy(&x, from, (n - v * lanes) * sizeof(float));
            }
            const Ints there = (x - x) == 0.0f;
            counts[v] -= there;
            store(to, there ? x : infinite);
        }
    }
    for (size_t v = 0; v < n_vector; ++v) {
        for (size_t row = job.n_time; row < n_row; ++row) {
            store(tile + (v * n_row + row) * lanes, infinite);
        }
    }
}

void clip_sorted(const ClipJob& job) {
    const size_t n_row = padded_rows(job.n_time);
    const size_t step = tile_vectors(job.n_time) * lanes;
    Ints counts[tile_series / lanes];
    for (size_t first = 0; first < job.n_series; first += step) {
        const size_t n = job.n_series - first < step ? job.n_series - first : step;
        copy_tile(job, first, n, job.scratch, n_row, counts);
        for (size_t v = 0; v * lanes < n; ++v) {
            float* const column = job.scratch + v * n_row * lanes;
            sort_rows(column, n_row);
            for (size_t h = 0; h < 2 && v * lanes + h * half < n; ++h) {
                Longs n_valid;
                for (int i = 0; i < half; ++i) {
                    n_valid[i] = counts[v][int(h) * half + i];
                }
                const size_t next = first + step + v * lanes;
                const bool calls = h == 0 && v * lanes % 16 == 0 && next + 16 <= job.n_series;
                const Ahead ahead{calls ? job.data + next + 15 : nullptr, job.row_stride};
                reduce_sorted(job, column + h * half, n_valid, first + v * lanes + h * half, ahead);
            }
        }
    }
}

} // namespace

size_t clip_scratch(size_t n_time) {
    const size_t sorted = (padded_rows(n_time) + 1) * tile_vectors(n_time) * lanes;
    const size_t unsorted = mean_scratch(n_time);
    return sorted > unsorted ? sorted : unsorted;
}

void clip(const ClipJob& job) {
    if (job.max_iters == 0 && job.median == nullptr) {
        mean(job);
    } else {
        clip_sorted(job);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
