// Power spectra and transforms of real series, two of them as one complex: X_a = (Z[k] + conj Z[n - k]) / 2 and
// X_b = (Z[k] - conj Z[n - k]) / 2 i.
//
// Panels of series are copied from memory once; then columns, groups of rows and what they give are taken in turn, so
// that a group is still in the first-level cache when its power is written.
#include "fft_stages.hpp"
#include "panel_transform.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// What is written of a panel: amplitudes are multiplied by `factor`, which is NaN for series without an answer.
struct PanelOutput {
    alignas(64) float factor[panel_series];
    float* power;
    float* real;
    float* imaginary;
};

void write_pairs(const SpectrumJob& job, const FftBucket& bucket, const float* work, size_t work_size, size_t n_series,
                 const PanelOutput& out) {
    const FftGrid& grid = *job.grid;
    for (size_t i = bucket.first_pair; i < bucket.end_pair; ++i) {
        const FftPair& pair = grid.pairs[i];
        const bool real = pair.k == 0 || 2 * size_t(pair.k) == grid.n_fft;
        for (size_t at = 0; at < n_series; at += block_series) {
            const float* const block = work + at / block_series * work_size;
            const Complex<Floats> z = load_row<Floats>(block + pair.row * row_size<Floats>);
            const Complex<Floats> m = load_row<Floats>(block + pair.mirror * row_size<Floats>);
            const Complex<Floats> f = load_row<Floats>(out.factor + at);
            Complex<Floats> x{(z.re + m.re) * f.re, (z.im - m.im) * f.re};
            Complex<Floats> y{(z.im + m.im) * f.im, (m.re - z.re) * f.im};
            if (out.power != nullptr) {
                if (real) {
                    x = {x.re * 0.5f, x.im * 0.5f};
                    y = {y.re * 0.5f, y.im * 0.5f};
                }
                float* const row = out.power + pair.k * job.out_stride;
                write(row, at, multiply_add(x.re, x.re, x.im * x.im), n_series);
                write(row, at + lanes, multiply_add(y.re, y.re, y.im * y.im), n_series);
            } else {
                float* const re = out.real + pair.k * job.out_stride;
                float* const im = out.imaginary + pair.k * job.imaginary_stride;
                write(re, at, x.re, n_series);
                write(re, at + lanes, y.re, n_series);
                write(im, at, x.im, n_series);
                write(im, at + lanes, y.im, n_series);
            }
        }
    }
}

// Levels of every block, what amplitudes are multiplied by, and gaps filled with what becomes 0.
void level_panel(const SpectrumJob& job, Panel& panel, Levels* levels, float* factor) {
    for (size_t i = 0; i < panel_series; ++i) {
        Levels& level = levels[i / block_series];
        const size_t lane = i % block_series;
        const float offset = job.subtract_mean ? float(panel.mean(i)) : -panel.moments.reference[i];
        const double scale = inverse_scale(__builtin_sqrt(panel.square(i, offset)));
        level.scale[lane] = float(scale);
        level.shift[lane] = float(offset * scale);
        level.fill[lane] = offset;
        // The half that makes up for sums of two elements meets the two of a sine and its mirror image.
        const double gain = job.subtract_mean ? panel.moments.gain[i] : 2.0, count = panel.moments.count[i];
        const bool known = job.subtract_mean ? count > 0.0 && gain != 0.0 : count == double(job.n_time);
        factor[i] = known ? float(1.0 / (gain * scale)) : __builtin_nanf("");
    }
    for (size_t b = 0; b * block_series < panel.n_series; ++b) {
        panel.fill_gaps(b, levels[b].fill, job.n_time);
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
    return ((panel_blocks + work_blocks(grid)) * grid.plan.n_row + grid.plan.n_buffer) * row_size<Floats>;
}

void spectra(const SpectrumJob& job) {
    const FftGrid& grid = *job.grid;
    const FftPlan& plan = grid.plan;
    const size_t block_size = plan.n_row * row_size<Floats>, n_freq = grid.n_fft / 2 + 1;
    float* const work = job.scratch + panel_blocks * block_size;
    float* const buffer = work + work_blocks(grid) * block_size;
    Panel panel{&plan, job.window, job.scratch, block_size, Weights::equal, 0, false, {}};
    for (size_t first = 0; first < job.n_series; first += panel_series) {
        for (size_t segment = 0; segment < job.n_segment; ++segment) {
            const float* const data = job.data + segment * job.segment_step * job.row_stride + first;
            const size_t rest = job.n_series - first;
            panel.take({data, job.n_time, job.row_stride}, rest < panel_series ? rest : panel_series);
            Levels levels[panel_blocks];
            PanelOutput out;
            level_panel(job, panel, levels, out.factor);
            const size_t at = segment * n_freq * job.out_stride + first;
            out.power = job.power == nullptr ? nullptr : job.power + at;
            out.real = job.real == nullptr ? nullptr : job.real + at;
            out.imaginary = job.imaginary == nullptr ? nullptr : job.imaginary + first;
            const auto levelled = [&](size_t b) { return Levelled(levels[b], job.window_rows); };
            for (size_t b = 0; b * block_series < panel.n_series && grid.n_residue > 1; ++b) {
                level_rows(panel, b, levelled(b));
            }
            transform_panel(
                grid, panel.n_series, panel.blocks, work, buffer,
                [&](size_t b, float* block) { columns_from<Floats>(plan, block, levelled(b)); },
                [&](const FftBucket& bucket, const float* blocks, size_t size) {
                    write_pairs(job, bucket, blocks, size, panel.n_series, out);
                });
        }
    }
    finish_writing();
}

} // namespace starskope::detail::STARSKOPE_VARIANT
