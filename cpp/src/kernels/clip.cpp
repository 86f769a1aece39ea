// Statistics of the survivors of every series, clipped or not.
//
// Clipping: tiles of series are copied into scratch, every lane is sorted along time once (missing values become
// infinite and end up last), and from then on the survivors of a series are a range [low, high) of its column: the
// median is one or two elements, an iteration moves the two ends inward, and the sums are corrected for the few values
// that left. Sums are float64 about a value of the series itself. Where so much left that a corrected sum has lost
// digits it is taken anew. Without clipping and without a median nothing needs sorting: one pass over the rows in
// place.
#include "sort.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr double infinity = __builtin_inf();
constexpr size_t tile_series = 64;
constexpr size_t tile_bytes = size_t{1} << 20; // beyond this tiles become narrower
constexpr size_t panel_series = 256;           // of the pass without sorting: 1 kB of each row
constexpr size_t panel_rows = 8;
// Sums of squares are taken anew when corrections have left less than this part of what was summed.
constexpr double least_part = 1e-6;

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

template <class T, class V>
STARSKOPE_INLINE void write(T* out, size_t series, size_t n_series, V values) {
    if (out != nullptr) {
        for (int i = 0; i < half; ++i) {
            if (series + size_t(i) < n_series) {
                out[series + size_t(i)] = T(values[i]);
            }
        }
    }
}

// One NaN for "no data" on every processor: the sign of 0 / 0 differs.
STARSKOPE_INLINE Doubles known(Doubles values, Doubles n) {
    return n > 0.0 ? values : splat_double(__builtin_nan(""));
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

// Sums of up to panel_series neighbouring series.
struct alignas(64) Panel {
    double sum[panel_series];
    double squares[panel_series];
    double count[panel_series];
    double reference[panel_series];
};

// One pass over n series (a multiple of `half`) that start at x; with gaps, missing values are skipped. A few rows at a
// time, so that sums are loaded and stored once per that many values.
template <bool gaps>
STARSKOPE_INLINE void accumulate(const float* x, size_t n_time, size_t row_stride, size_t n, Panel& panel) {
    for (size_t k = 0; k < n; ++k) {
        panel.sum[k] = panel.squares[k] = 0.0;
        panel.count[k] = gaps ? 0.0 : double(n_time);
    }
    for (size_t row = 0; row < n_time; row += panel_rows, x += panel_rows * row_stride) {
        const size_t n_row = n_time - row < panel_rows ? n_time - row : panel_rows;
        for (size_t k = 0; k < n; k += half) {
            const Doubles reference = load_wide(panel.reference + k);
            Doubles sum = load_wide(panel.sum + k), squares = load_wide(panel.squares + k);
            Doubles count = gaps ? load_wide(panel.count + k) : Doubles{};
            const auto add = [&](size_t i) __attribute__((always_inline)) {
                const Doubles value = load_doubles(x + i * row_stride + k);
                Doubles d = value - reference;
                if constexpr (gaps) {
                    const Longs there = (value - value) == 0.0;
                    d = there ? d : Doubles{};
                    count -= __builtin_convertvector(there, Doubles);
                }
                sum += d;
                squares += d * d;
            };
            if (n_row == panel_rows) {
                for (size_t i = 0; k % 16 == 0 && i < panel_rows; ++i) {
                    __builtin_prefetch(x + (panel_rows + i) * row_stride + k + 15);
                }
#pragma GCC unroll 8
                for (size_t i = 0; i < panel_rows; ++i) {
                    add(i);
                }
            } else {
                for (size_t i = 0; i < n_row; ++i) {
                    add(i);
                }
            }
            store_wide(panel.sum + k, sum);
            store_wide(panel.squares + k, squares);
            if constexpr (gaps) {
                store_wide(panel.count + k, count);
            }
        }
    }
}

// First value that is there, per series; 0 where there is none.
STARSKOPE_INLINE Doubles first_values(const float* x, size_t n_time, size_t row_stride) {
    Doubles first{};
    Longs missing = first == 0.0;
    for (size_t row = 0; row < n_time && any(missing); ++row) {
        const Doubles value = load_doubles(x + row * row_stride);
        const Longs there = (value - value) == 0.0;
        first = (missing & there) ? value : first;
        missing &= ~there;
    }
    return first;
}

// n series (a multiple of `half`) read at x: mean, population standard deviation and count of all that is there.
void reduce_unsorted(const ClipJob& job, const float* x, size_t row_stride, size_t series, size_t n, Panel& panel,
                     bool& gaps) {
    for (size_t k = 0; k < n; k += half) {
        store_wide(panel.reference + k, first_values(x + k, job.n_time, row_stride));
    }
    // Whether something is missing shows in the sums; neighbouring series are mostly alike, so the last panel is asked.
    if (!gaps) {
        accumulate<false>(x, job.n_time, row_stride, n, panel);
        for (size_t k = 0; k < n; k += half) {
            const Doubles sum = load_wide(panel.sum + k);
            gaps |= any((sum - sum) != 0.0);
        }
        if (gaps) {
            accumulate<true>(x, job.n_time, row_stride, n, panel);
        }
    } else {
        accumulate<true>(x, job.n_time, row_stride, n, panel);
        gaps = false;
        for (size_t k = 0; k < n; k += half) {
            gaps |= any(load_wide(panel.count + k) != double(job.n_time));
        }
    }
    // A first value far from the others costs digits of the squares: those series once more about their mean.
    bool again = false;
    for (size_t k = 0; k < n; k += half) {
        const Doubles count = load_wide(panel.count + k), sum = load_wide(panel.sum + k);
        const Doubles squares = load_wide(panel.squares + k), reference = load_wide(panel.reference + k);
        const Doubles mean = sum / count;
        const Longs lost = squares - sum * mean < least_part * squares;
        store_wide(panel.reference + k, lost ? reference + mean : reference);
        again |= any(lost);
    }
    if (again) {
        accumulate<true>(x, job.n_time, row_stride, n, panel);
    }
    for (size_t k = 0; k < n; k += half) {
        const Doubles count = load_wide(panel.count + k), sum = load_wide(panel.sum + k);
        const Doubles mean = sum / count;
        Doubles left = load_wide(panel.squares + k) - sum * mean;
        left = left < 0.0 ? Doubles{} : left;
        write(job.mean, series + k, job.n_series, known(load_wide(panel.reference + k) + mean, count));
        write(job.std, series + k, job.n_series, known(square_root(left / count), count));
        write(job.count, series + k, job.n_series, count);
    }
}

void reduce_all(const ClipJob& job) {
    Panel& panel = *reinterpret_cast<Panel*>(job.scratch);
    bool gaps = false;
    const size_t whole = job.n_series / half * half;
    for (size_t series = 0; series < whole; series += panel_series) {
        const size_t n = whole - series < panel_series ? whole - series : panel_series;
        reduce_unsorted(job, job.data + series, job.row_stride, series, n, panel, gaps);
    }
    if (whole < job.n_series) {
        float* const rest = job.scratch + sizeof(Panel) / sizeof(float);
        for (size_t row = 0; row < job.n_time; ++row) {
            for (size_t i = 0; i < half; ++i) {
                const bool there = whole + i < job.n_series;
                rest[row * half + i] = there ? job.data[row * job.row_stride + whole + i] : 0.0f;
            }
        }
        reduce_unsorted(job, rest, half, whole, half, panel, gaps);
    }
}

} // namespace

size_t clip_scratch(size_t n_time) {
    const size_t sorted = (padded_rows(n_time) + 1) * tile_vectors(n_time) * lanes;
    const size_t unsorted = sizeof(Panel) / sizeof(float) + n_time * half;
    return sorted > unsorted ? sorted : unsorted;
}

void clip(const ClipJob& job) {
    if (job.max_iters == 0 && job.median == nullptr) {
        reduce_all(job);
    } else {
        clip_sorted(job);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
