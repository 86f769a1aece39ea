// Mean and standard deviation of all values of every series: one pass over the rows in place, nothing is sorted or
// copied.
//
// Sums are float64 about the first value of each series, in order of time.
#include "statistics.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t panel_series = 256; // of the pass without sorting: 1 kB of each row
constexpr size_t panel_rows = 8;

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

} // namespace

size_t mean_scratch(size_t n_time) {
    return sizeof(Panel) / sizeof(float) + n_time * half;
}

void mean(const ClipJob& job) {
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

} // namespace starskope::detail::STARSKOPE_VARIANT
