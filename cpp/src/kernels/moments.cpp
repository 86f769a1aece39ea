// Mean and standard deviation of the values of every series that lie within bounds, weighted or not, and moments that
// grow by rows: one pass over the rows in place, nothing is sorted or copied.
//
// Sums are float64 about the first value of each series (about the mean so far, where there is one), in order of time.
#include "frames.hpp"
#include "statistics.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t panel_series = 512; // 2 kB of each row
constexpr size_t panel_rows = 8;

// Sums of up to panel_series neighbouring series, d = x - reference.
struct alignas(64) Panel {
    double reference[panel_series];
    double sum[panel_series];     // of w d
    double squares[panel_series]; // of w d^2
    double weight[panel_series];  // of w: without weights the number of values
    double count[panel_series];
};

struct Pair {
    Doubles low, high;
};

STARSKOPE_INLINE Pair load_pair(const double* p) {
    return {load_wide(p), load_wide(p + half)};
}

STARSKOPE_INLINE void store_pair(double* p, Pair x) {
    store_wide(p, x.low);
    store_wide(p + half, x.high);
}

STARSKOPE_INLINE Pair widened(Floats x) {
    return {lower_half(x), upper_half(x)};
}

STARSKOPE_INLINE Doubles present(Doubles x) { // 1 or 0
    return (x - x) == 0.0 ? splat_double(1.0) : Doubles{};
}

STARSKOPE_INLINE void add_row(Doubles x, Doubles reference, Doubles& sum, Doubles& squares) {
    const Doubles d = x - reference;
    sum += d;
    squares += d * d;
}

STARSKOPE_INLINE void add_present(Doubles x, Doubles reference, Doubles& sum, Doubles& squares, Doubles& count) {
    const Doubles there = present(x);
    const Doubles d = there != 0.0 ? x - reference : Doubles{};
    sum += d;
    squares += d * d;
    count += there;
}

// All rows of series [first, first + n), no weights or bounds. A few rows at a time, so that sums are loaded and stored
// once per that many values. Without gaps, missing values make a sum that is not finite.
template <bool swapped, bool plain, bool gaps>
STARSKOPE_INLINE void sum_all(const SeriesRows& rows, size_t first, size_t n, Panel& panel) {
    for (size_t k = 0; k < panel_series; ++k) {
        panel.sum[k] = panel.squares[k] = 0.0;
        panel.count[k] = gaps ? 0.0 : double(rows.n_time);
    }
    for (size_t t = 0; t < rows.n_time; t += panel_rows) {
        const size_t n_row = rows.n_time - t < panel_rows ? rows.n_time - t : panel_rows;
        const size_t n_next = rows.n_time - t - n_row < panel_rows ? rows.n_time - t - n_row : panel_rows;
        for (size_t k = 0; k < n; k += lanes) {
            const Pair reference = load_pair(panel.reference + k);
            Pair sum = load_pair(panel.sum + k), squares = load_pair(panel.squares + k);
            Pair count = gaps ? load_pair(panel.count + k) : Pair{};
            const auto add = [&](Floats values) __attribute__((always_inline)) {
                const Pair x = widened(values);
                if constexpr (gaps) {
                    add_present(x.low, reference.low, sum.low, squares.low, count.low);
                    add_present(x.high, reference.high, sum.high, squares.high, count.high);
                } else {
                    add_row(x.low, reference.low, sum.low, squares.low);
                    add_row(x.high, reference.high, sum.high, squares.high);
                }
            };
            if (k % 16 == 0) {
                for (size_t i = 0; i < n_next; ++i) {
                    __builtin_prefetch(rows.row[t + n_row + i] + (first + k) * sizeof(float));
                }
            }
            if (plain && n_row == panel_rows && k + lanes <= n) {
#pragma GCC unroll 8
                for (size_t i = 0; i < panel_rows; ++i) {
                    add(load_lanes<swapped>(rows.row[t + i] + (first + k) * sizeof(float)));
                }
            } else {
                for (size_t i = 0; i < n_row; ++i) {
                    Floats x = values<swapped, plain>(rows, t + i, first + k, n - k);
                    if constexpr (!gaps) { // lanes behind the last series hold NaN: they must not look like gaps
                        x = n - k < size_t(lanes) ? behind_cleared(x, n - k) : x;
                    }
                    add(x);
                }
            }
            store_pair(panel.sum + k, sum);
            store_pair(panel.squares + k, squares);
            if constexpr (gaps) {
                store_pair(panel.count + k, count);
            }
        }
    }
}

// With weights, bounds or a map of what was rejected.
template <bool swapped, bool plain>
void sum_within(const ClipJob& job, size_t first, size_t n, Panel& panel) {
    const SeriesRows& rows = job.series;
    __builtin_memset(panel.sum, 0, sizeof panel.sum);
    __builtin_memset(panel.squares, 0, sizeof panel.squares);
    __builtin_memset(panel.weight, 0, sizeof panel.weight);
    __builtin_memset(panel.count, 0, sizeof panel.count);
    alignas(64) double lower[panel_series], upper[panel_series];
    for (size_t k = 0; k < panel_series; ++k) {
        const bool bounded = job.lower != nullptr && k < n;
        lower[k] = bounded ? job.lower[first + k] : -__builtin_inf();
        upper[k] = bounded ? job.upper[first + k] : __builtin_inf();
    }
    for (size_t t = 0; t < rows.n_time; ++t) {
        for (size_t k = 0; k < n; k += lanes) {
            const Floats x = values<swapped, plain>(rows, t, first + k, n - k);
            Floats w = splat(1.0f);
            if constexpr (!plain) {
                w = weights(rows, t, first + k, n - k);
            }
            const Pair wide = widened(x), wide_w = widened(w);
            HalfLaneBytes out[2];
            const auto add = [&](Doubles v, Doubles weight, size_t at,
                                 HalfLaneBytes& rejected) __attribute__((always_inline)) {
                const Longs there = (v - v) == 0.0;
                const Longs within = there & (v >= load_wide(lower + at)) & (v <= load_wide(upper + at));
                const Doubles d = within ? v - load_wide(panel.reference + at) : Doubles{};
                const Doubles used = within ? weight : Doubles{};
                store_wide(panel.sum + at, load_wide(panel.sum + at) + used * d);
                store_wide(panel.squares + at, load_wide(panel.squares + at) + used * d * d);
                store_wide(panel.weight + at, load_wide(panel.weight + at) + used);
                store_wide(panel.count + at, load_wide(panel.count + at) + (within ? splat_double(1.0) : Doubles{}));
                rejected = __builtin_convertvector((there & ~within) & 1, HalfLaneBytes);
            };
            add(wide.low, wide_w.low, k, out[0]);
            add(wide.high, wide_w.high, k + half, out[1]);
            if (job.rejected != nullptr) {
                __builtin_memcpy(job.rejected + t * job.rejected_stride + first + k, out,
                                 n - k < size_t(lanes) ? n - k : size_t(lanes));
            }
        }
    }
}

// First value that is there, per series; 0 where there is none.
template <bool swapped, bool plain>
STARSKOPE_INLINE void find_references(const SeriesRows& rows, size_t first, size_t n, const double* mean,
                                      const double* count, Panel& panel) {
    for (size_t k = 0; k < n; k += lanes) {
        Floats found{};
        Ints missing = found == 0.0f;
        for (size_t t = 0; t < rows.n_time && any(missing); ++t) {
            const Floats x = values<swapped, plain>(rows, t, first + k, n - k);
            const Ints there = (x - x) == 0.0f;
            found = (missing & there) ? x : found;
            missing &= ~there;
            if (t == 0 && n - k < size_t(lanes)) {
                missing = behind_cleared(missing, n - k);
            }
        }
        store_pair(panel.reference + k, widened(found));
    }
    for (size_t k = 0; mean != nullptr && k < n; ++k) {
        panel.reference[k] = count[first + k] > 0.0 ? mean[first + k] : panel.reference[k];
    }
}

// Whether something is missing shows in the sums; neighbouring series are mostly alike, so the last panel is asked.
template <bool swapped, bool plain>
void sum_panel(const SeriesRows& rows, size_t first, size_t n, Panel& panel, bool& gaps) {
    if (!gaps) {
        sum_all<swapped, plain, false>(rows, first, n, panel);
        for (size_t k = 0; k < n; k += half) {
            const Doubles sum = load_wide(panel.sum + k);
            gaps |= any((sum - sum) != 0.0);
        }
        if (gaps) {
            sum_all<swapped, plain, true>(rows, first, n, panel);
        }
    } else {
        sum_all<swapped, plain, true>(rows, first, n, panel);
        gaps = false;
        for (size_t k = 0; k < n; ++k) {
            gaps |= panel.count[k] != double(rows.n_time);
        }
    }
    __builtin_memcpy(panel.weight, panel.count, sizeof panel.weight);
}

template <bool swapped, bool plain>
void reduce_panel(const ClipJob& job, size_t first, size_t n, Panel& panel, bool& gaps) {
    const bool simple = plain && job.lower == nullptr && job.rejected == nullptr;
    find_references<swapped, plain>(job.series, first, n, nullptr, nullptr, panel);
    const auto sum = [&] {
        if (simple) {
            sum_panel<swapped, plain>(job.series, first, n, panel, gaps);
        } else {
            sum_within<swapped, plain>(job, first, n, panel);
        }
    };
    sum();
    // A first value far from the others costs digits of the squares: those series once more about their mean.
    bool again = false;
    for (size_t k = 0; k < n; k += half) {
        const Doubles weight = load_wide(panel.weight + k), sums = load_wide(panel.sum + k);
        const Doubles squares = load_wide(panel.squares + k), reference = load_wide(panel.reference + k);
        const Doubles mean = sums / weight;
        const Longs lost = squares - sums * mean < least_part * squares;
        store_wide(panel.reference + k, lost ? reference + mean : reference);
        again |= any(lost);
    }
    if (again) {
        sum();
    }
    for (size_t k = 0; k < n; k += half) {
        const Doubles count = load_wide(panel.count + k), weight = load_wide(panel.weight + k);
        const Doubles sums = load_wide(panel.sum + k), mean = sums / weight;
        Doubles left = load_wide(panel.squares + k) - sums * mean;
        left = left < 0.0 ? Doubles{} : left;
        write(job.mean, first + k, job.series.n_series, known(load_wide(panel.reference + k) + mean, count));
        write(job.std, first + k, job.series.n_series, known(square_root(left / weight), count));
        write(job.count, first + k, job.series.n_series, count);
    }
}

} // namespace

size_t moments_scratch() {
    return sizeof(Panel) / sizeof(float);
}

void survivors(const ClipJob& job) {
    Panel& panel = *reinterpret_cast<Panel*>(job.scratch);
    const SeriesRows& rows = job.series;
    bool gaps = false;
    with_layout(rows, [&](auto swapped, auto plain) {
        for (size_t first = 0; first < rows.n_series; first += panel_series) {
            const size_t n = rows.n_series - first < panel_series ? rows.n_series - first : panel_series;
            reduce_panel<swapped.is, plain.is>(job, first, n, panel, gaps);
        }
    });
}

// n values with mean m and squares S about it; k more with sums s and q of d = x - m and d^2: the mean becomes
// m + s / (n + k), the squares S + q - s^2 / (n + k).
void accumulate(const AccumulateJob& job) {
    Panel& panel = *reinterpret_cast<Panel*>(job.scratch);
    const SeriesRows& rows = job.series;
    bool gaps = false;
    with_layout(rows, [&](auto swapped, auto plain) {
        for (size_t first = 0; first < rows.n_series; first += panel_series) {
            const size_t n = rows.n_series - first < panel_series ? rows.n_series - first : panel_series;
            find_references<swapped.is, plain.is>(rows, first, n, job.mean, job.count, panel);
            sum_panel<swapped.is, plain.is>(rows, first, n, panel, gaps);
            for (size_t k = 0; k < n; ++k) {
                const double count = job.count[first + k] + panel.count[k];
                const double shift = count > 0.0 ? panel.sum[k] / count : 0.0;
                const double squares = job.squares[first + k] + (panel.squares[k] - panel.sum[k] * shift);
                job.count[first + k] = count;
                job.mean[first + k] = panel.reference[k] + shift;
                job.squares[first + k] = squares > 0.0 ? squares : 0.0;
            }
        }
    });
}

} // namespace starskope::detail::STARSKOPE_VARIANT
