// Autocorrelations of series, two of them as one complex: their powers |X_a|^2 and |X_b|^2 are real and even, so that
// one more transform of |X_a|^2 + i |X_b|^2 gives both, without a part exchanged. How many pairs of points lie a lag
// apart where some are missing is the autocorrelation of what is there.
#include "fft_stages.hpp"
#include "row_of_panel.hpp"
#include "series.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

void transform_groups(const FftPlan& plan, float* block, float* buffer) {
    for (size_t group = 0; group < plan.n_group; ++group) {
        transform_group(plan, block, group, buffer);
    }
}

// Sums over all pairs a lag apart, of a block whose columns were transformed: at row_of[lag] of `out`.
void sums_of_pairs(const FftPlan& plan, float* block, float* out, float* buffer) {
    transform_groups(plan, block, buffer);
    const Floats scale = splat(float(0.25 / double(plan.n))); // of sums of two elements, back from n times the sum
    for (size_t k = 0; 2 * k <= plan.n; ++k) {
        const size_t mirror = (plan.n - k) % plan.n;
        const Complex<Floats> z = load_row<Floats>(block + plan.row_of[k] * row_size<Floats>);
        const Complex<Floats> m = load_row<Floats>(block + plan.row_of[mirror] * row_size<Floats>);
        const Complex<Floats> x{z.re + m.re, z.im - m.im}, y{z.im + m.im, m.re - z.re};
        const Complex<Floats> power{multiply_add(x.re, x.re, x.im * x.im) * scale,
                                    multiply_add(y.re, y.re, y.im * y.im) * scale};
        store_row<Floats>(out + plan.place[k] * row_size<Floats>, power);
        store_row<Floats>(out + plan.place[mirror] * row_size<Floats>, power);
    }
    transform_columns(plan, out);
    transform_groups(plan, out, buffer);
}

// Ones where block b has a point.
void points_of(const Panel& panel, size_t b, size_t n_time, float* out) {
    const FftPlan& plan = *panel.plan;
    for (size_t j = 0; j < plan.n; ++j) {
        const size_t row = plan.place[j] * row_size<Floats>;
        const Complex<Floats> x = load_row<Floats>(panel.blocks + b * panel.block_size + row);
        const Floats one = splat(j < n_time ? 1.0f : 0.0f);
        store_row<Floats>(out + row, {x.re == x.re ? one : Floats{}, x.im == x.im ? one : Floats{}});
    }
}

// To the nearest whole number, of numbers far below 2^23.
STARSKOPE_INLINE Floats rounded(Floats x) {
    const Floats large = splat(12582912.0f); // 1.5 * 2^23
    return (x + large) - large;
}

struct PairCounts {
    const float* block; // sums of pairs of what is there; null: all are
    double n_time;

    // Pairs `lag` apart.
    Complex<Floats> of(const FftPlan& plan, size_t lag) const {
        if (block == nullptr) {
            const Floats n = splat(float(n_time - double(lag)));
            return {n, n};
        }
        const Complex<Floats> x = load_row<Floats>(block + plan.row_of[lag] * row_size<Floats>);
        return {rounded(x.re), rounded(x.im)};
    }
};

// The lags of block b: each over that of lag 0, times `known`, which is NaN for series without an answer.
void write_lags(const AutocorrelationJob& job, size_t first, const float* sums, const PairCounts& counts,
                const float* known) {
    const FftPlan& plan = job.grid->plan;
    const size_t n_series = job.n_series - first;
    const Complex<Floats> zero = load_row<Floats>(sums + plan.row_of[0] * row_size<Floats>);
    const Complex<Floats> whole = load_row<Floats>(known), all = counts.of(plan, 0);
    const Complex<Floats> scale{whole.re / zero.re, whole.im / zero.im};
    const Floats none = splat(__builtin_nanf(""));
    for (size_t lag = 0; lag < job.n_lag; ++lag) {
        const Complex<Floats> x = load_row<Floats>(sums + plan.row_of[lag] * row_size<Floats>);
        Complex<Floats> r{x.re * scale.re, x.im * scale.im};
        if (lag == 0) {
            r = whole;
        } else if (job.unbiased) {
            const Complex<Floats> n = counts.of(plan, lag);
            r = {n.re > 0.0f ? r.re * all.re / n.re : none, n.im > 0.0f ? r.im * all.im / n.im : none};
        }
        float* const row = job.out + lag * job.out_stride + first;
        write(row, 0, r.re, n_series);
        write(row, lanes, r.im, n_series);
    }
}

} // namespace

size_t autocorrelation_scratch(const FftGrid& grid) {
    return ((panel_blocks + 3) * grid.plan.n_row + grid.plan.n_buffer) * row_size<Floats>;
}

void autocorrelation(const AutocorrelationJob& job) {
    const FftPlan& plan = job.grid->plan;
    const size_t block_size = plan.n_row * row_size<Floats>;
    float* const sums = job.scratch + panel_blocks * block_size;
    float* const there = sums + block_size;
    float* const counts = there + block_size;
    float* const buffer = counts + block_size;
    Panel panel{&plan, job.window, job.scratch, block_size, Weights::equal, 0, false, {}};
    for (size_t first = 0; first < job.n_series; first += panel_series) {
        const size_t rest = job.n_series - first;
        panel.take({job.data + first, job.n_time, job.row_stride}, rest < panel_series ? rest : panel_series);
        for (size_t b = 0; b * block_series < panel.n_series; ++b) {
            Levels levels;
            alignas(64) float known[block_series];
            for (size_t lane = 0; lane < block_series; ++lane) {
                const size_t i = b * block_series + lane;
                const float mean = float(panel.mean(i));
                const double square = panel.square(i, mean), scale = inverse_scale(__builtin_sqrt(square));
                levels.scale[lane] = float(scale);
                levels.shift[lane] = float(mean * scale);
                levels.fill[lane] = mean;
                known[lane] = square > 0.0 ? 1.0f : __builtin_nanf("");
            }
            const bool counted = panel.gaps && job.unbiased;
            if (counted) {
                points_of(panel, b, job.n_time, there);
                transform_columns(plan, there);
                sums_of_pairs(plan, there, counts, buffer);
            }
            panel.fill_gaps(b, levels.fill, job.n_time);
            float* const block = panel.blocks + b * block_size;
            // Rows behind the last sample are 0 before and after.
            for (size_t j = 0; j < job.n_time; ++j) {
                const size_t row = plan.place[j];
                store_row<Floats>(block + row * row_size<Floats>, Levelled(levels, job.window_rows)(block, row));
            }
            transform_columns(plan, block);
            sums_of_pairs(plan, block, sums, buffer);
            write_lags(job, first + b * block_series, sums, {counted ? counts : nullptr, double(job.n_time)}, known);
        }
    }
    finish_writing();
}

} // namespace starskope::detail::STARSKOPE_VARIANT
