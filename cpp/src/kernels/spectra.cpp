// Power spectra of real series, two of them as one complex: X_a = (Z[k] + conj Z[n - k]) / 2 and
// X_b = (Z[k] - conj Z[n - k]) / 2 i.
//
// Panels of series are copied from memory once; then columns, groups of rows and what they give are taken in turn, so
// that a group is still in the first-level cache when its power is written.
#include "panel_transform.hpp"
#include "straight.hpp"
#include "trend.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// What is written of a panel: amplitudes are multiplied by `factor`, which is NaN for series without an answer.
struct PanelOutput {
    alignas(64) float factor[panel_series];
    alignas(64) float mean[panel_series]; // scaled like the panel: what is still to be taken off, times the window
    bool centred;                         // nothing is
    float* power;
    float* kept; // (n_freq, line_floats), or null
    bool first, last;
};

STARSKOPE_INLINE void write_power(const SpectrumJob& job, const FftPair& pair, bool real, const float* work,
                                  size_t work_size, size_t n_series, const PanelOutput& out) {
    RowOfPanel row(out.power + pair.k * job.out_stride, out.kept == nullptr ? nullptr : out.kept + pair.k * line_floats,
                   n_series, out.first, out.last);
    // There the two elements are one: of four, or of the two whose powers a density adds.
    const Floats once = splat(!real ? 1.0f : job.density ? 0.70710678f : 0.5f);
    const float* const of_window = job.window_transform + 2 * size_t(pair.k);
    const bool centred = out.centred || (of_window[0] == 0.0f && of_window[1] == 0.0f);
    const Complex<Floats> w = centred ? Complex<Floats>{} : Complex<Floats>{splat(of_window[0]), splat(of_window[1])};
    for (size_t at = 0; at < n_series; at += block_series) {
        const float* const block = work + at / block_series * work_size;
        const Complex<Floats> z = load_row<Floats>(block + pair.row * row_size<Floats>);
        const Complex<Floats> m = load_row<Floats>(block + pair.mirror * row_size<Floats>);
        const Complex<Floats> f = load_row<Floats>(out.factor + at);
        const Floats fx = f.re * once, fy = f.im * once;
        Complex<Floats> x{z.re + m.re, z.im - m.im}, y{z.im + m.im, m.re - z.re};
        if (!centred) {
            const Complex<Floats> mean = load_row<Floats>(out.mean + at);
            x = {x.re - mean.re * w.re, x.im - mean.re * w.im};
            y = {y.re - mean.im * w.re, y.im - mean.im * w.im};
        }
        x = {x.re * fx, x.im * fx};
        y = {y.re * fy, y.im * fy};
        row.put(at, multiply_add(x.re, x.re, x.im * x.im));
        row.put(at + lanes, multiply_add(y.re, y.re, y.im * y.im));
    }
}

void write_pairs(const SpectrumJob& job, const FftBucket& bucket, const float* work, size_t work_size, size_t n_series,
                 const PanelOutput& out) {
    const FftGrid& grid = *job.grid;
    for (size_t i = bucket.first_pair; i < bucket.end_pair; ++i) {
        const FftPair& pair = grid.pairs[i];
        const bool real = pair.k == 0 || 2 * size_t(pair.k) == grid.n_fft;
        write_power(job, pair, real, work, work_size, n_series, out);
    }
}

// What amplitudes are divided by, from sums of the window and of its squares over the points.
double gain_of(const SpectrumJob& job, double sum, double squares) {
    return job.density ? __builtin_sqrt(2.0 * squares / job.cadence) : sum;
}

// Levels of every block, what amplitudes are multiplied by, and gaps filled with what becomes 0.
void level_panel(const SpectrumJob& job, Panel& panel, double squares, Levels* levels, float* factor) {
    alignas(64) double own_squares[panel_series] = {};
    if (job.density && panel.gaps) {
        window_squares(panel, job.window, job.n_time, own_squares);
    }
    for (size_t i = 0; i < panel_series; ++i) {
        Levels& level = levels[i / block_series];
        const size_t lane = i % block_series;
        const float offset = float(panel.mean(i));
        const double scale = inverse_scale(__builtin_sqrt(panel.square(i, offset)));
        level.scale[lane] = float(scale);
        level.shift[lane] = float(offset * scale);
        level.fill[lane] = offset;
        // The half that makes up for sums of two elements meets the two of a sine and its mirror image.
        const double gain = gain_of(job, panel.moments.gain[i], panel.gaps ? own_squares[i] : squares);
        factor[i] = panel.moments.count[i] > 0.0 && gain != 0.0 ? float(1.0 / (gain * scale)) : __builtin_nanf("");
    }
    for (size_t b = 0; b * block_series < panel.n_series; ++b) {
        panel.fill_gaps(b, levels[b].fill, job.n_time);
    }
}

// Series that are taken together: rows of 64 are written at the best rate, but more than 2 MiB of samples would leave
// the second-level cache more often than that gains.
size_t panel_width(const FftGrid& grid) {
    constexpr size_t largest = 2 << 20;
    const size_t narrow = panel_series / 2 < block_series ? block_series : panel_series / 2;
    return panel_series * grid.plan.n_row * sizeof(float) > largest ? narrow : panel_series;
}

// Whether rows of a column lie so that a cache keeps them. A multiple of this apart they share its sets, and those that
// were called in push each other out.
bool spread_out(const SpectrumJob& job) {
    constexpr size_t period = 128 << 10;
    const FftSplit& split = job.grid->plan.split;
    return split.rows.length * job.row_stride * sizeof(float) % period != 0;
}

// Ends of rows that are kept; segments have too many rows for that.
size_t kept_size(const FftGrid& grid) {
    const size_t n_freq = grid.n_fft / 2 + 1;
    return lanes == line_floats && n_freq <= most_kept_rows ? n_freq * line_floats : 0;
}

size_t visits_size(const FftGrid& grid) {
    return grid.plan.n_row * sizeof(Visit) / sizeof(float);
}

// What a panel that was taken straight still needs: factors, and the means that its spectra hold.
void finish_straight(const Panel& panel, const float* scale, PanelOutput& out) {
    for (size_t i = 0; i < panel.n_series; ++i) {
        const double gain = panel.moments.gain[i];
        out.mean[i] = float(2.0 * panel.mean(i) * double(scale[i])); // twice: sums of two elements
        out.factor[i] = gain != 0.0 ? float(1.0 / (gain * double(scale[i]))) : __builtin_nanf("");
    }
}

// Levels a block in a pass of its own.
void level_rows(const Panel& panel, size_t b, const Levelled& levelled) {
    float* const block = panel.blocks + b * panel.block_size;
    for (size_t j = 0; j < panel.plan->n; ++j) {
        const size_t row = panel.plan->place[j];
        store_row<Floats>(block + row * row_size<Floats>, levelled(block, row));
    }
}

} // namespace

size_t spectrum_scratch(const FftGrid& grid) {
    return ((panel_blocks + work_blocks(grid)) * grid.plan.n_row + grid.plan.n_buffer) * row_size<Floats> +
           kept_size(grid) + visits_size(grid);
}

size_t window_scratch(const FftGrid& grid) {
    return (grid.plan.n_row + grid.plan.n_buffer) * row_size<Doubles>;
}

void window_transform(const FftGrid& grid, const float* window, double* out, double* scratch) {
    const FftPlan& plan = grid.plan;
    double* const buffer = scratch + plan.n_row * row_size<Doubles>;
    for (size_t j = 0; j < plan.n; ++j) {
        double* const row = scratch + plan.place[j] * row_size<Doubles>;
        store_row<Doubles>(row, {Doubles{}, Doubles{}});
        row[0] = double(window[j]);
    }
    transform_columns(plan, scratch);
    for (size_t group = 0; group < plan.n_group; ++group) {
        transform_group(plan, scratch, group, buffer);
    }
    for (size_t k = 0; k <= grid.n_fft / 2; ++k) {
        const double* const row = scratch + plan.row_of[k] * row_size<Doubles>;
        out[2 * k] = row[0];
        out[2 * k + 1] = row[half];
    }
}

void spectra(const SpectrumJob& job) {
    const FftGrid& grid = *job.grid;
    const FftPlan& plan = grid.plan;
    const size_t block_size = plan.n_row * row_size<Floats>, n_freq = grid.n_fft / 2 + 1;
    float* const work = job.scratch + panel_blocks * block_size;
    float* const buffer = work + work_blocks(grid) * block_size;
    const bool keeps = kept_size(grid) > 0 && job.n_segment == 1;
    float* const kept = keeps ? buffer + plan.n_buffer * row_size<Floats> : nullptr;
    const bool straight = job.window_transform != nullptr && !job.linear && spread_out(job) && grid.n_residue == 1 &&
                          job.n_time == plan.n;
    Visit* const visits = reinterpret_cast<Visit*>(buffer + plan.n_buffer * row_size<Floats> + kept_size(grid));
    double gain = 0.0, squares = 0.0;
    for (size_t j = 0; j < job.n_time; ++j) {
        gain += double(job.window[j]);
        squares += double(job.window[j]) * double(job.window[j]);
    }
    if (straight) {
        plan_visits(plan, visits);
    }
    Panel panel{&plan, job.window, job.scratch, block_size, Weights::equal, 0, false, {}};
    const size_t width = panel_width(grid);
    for (size_t first = 0; first < job.n_series; first += width) {
        for (size_t segment = 0; segment < job.n_segment; ++segment) {
            const float* const data = job.data + segment * job.segment_step * job.row_stride + first;
            const size_t rest = job.n_series - first;
            const size_t n = rest < width ? rest : width;
            const Rows rows{data, job.n_time, job.row_stride};
            Levels levels[panel_blocks];
            PanelOutput out;
            alignas(64) float scale[panel_series];
            const bool direct = straight && n % block_series == 0 &&
                                take_straight(job, rows, n, visits, gain_of(job, gain, squares), panel, scale);
            out.centred = !direct;
            if (direct) {
                finish_straight(panel, scale, out);
            } else {
                panel.take(rows, n);
                if (job.linear) {
                    take_lines_off(panel, job.n_time);
                }
                level_panel(job, panel, squares, levels, out.factor);
            }
            const size_t at = segment * n_freq * job.out_stride + first;
            out.power = job.power + at;
            out.kept = kept;
            out.first = first == 0;
            out.last = first + width >= job.n_series;
            const auto levelled = [&](size_t b) { return Levelled(levels[b], job.window_rows); };
            for (size_t b = 0; b * block_series < panel.n_series && grid.n_residue > 1; ++b) {
                level_rows(panel, b, levelled(b));
            }
            transform_panel(
                grid, panel.n_series, panel.blocks, work, buffer,
                [&](size_t b, float* block) {
                    if (!direct) {
                        columns_from<Floats>(plan, block, levelled(b));
                    }
                },
                [&](const FftBucket& bucket, const float* blocks, size_t size) {
                    write_pairs(job, bucket, blocks, size, panel.n_series, out);
                });
        }
    }
    finish_writing();
}

} // namespace starskope::detail::STARSKOPE_VARIANT
