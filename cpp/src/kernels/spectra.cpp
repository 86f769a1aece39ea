// Power spectra and transforms of real series, two of them as one complex: X_a = (Z[k] + conj Z[n - k]) / 2 and
// X_b = (Z[k] - conj Z[n - k]) / 2 i.
//
// Panels of series are copied from memory once; then columns, groups of rows and what they give are taken in turn, so
// that a group is still in the first-level cache when its power is written.
#include "series.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// What is written of a panel: amplitudes are multiplied by `factor`, which is NaN for series without an answer.
struct PanelOutput {
    alignas(64) float factor[panel_series];
    float* power;
    float* real;
    float* imaginary;
    size_t n_series;
};

// Past the caches where whole lines can be written: they are not read before, and nobody needs them soon.
STARSKOPE_INLINE void write_vector(float* out, Floats x, bool past) {
#if defined(__AVX512F__)
    if (past) {
        _mm512_stream_ps(out, x);
        return;
    }
#elif defined(__AVX2__)
    if (past) {
        _mm256_stream_ps(out, x);
        return;
    }
#endif
    (void)past;
    store(out, x);
}

// What was written past the caches is seen by all others from here on.
STARSKOPE_INLINE void finish_writing() {
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

// One vector of a row of the panel, `at` series from its first.
STARSKOPE_INLINE void write(float* out, size_t at, Floats x, size_t n_series, bool past) {
    if (n_series == panel_series) {
        write_vector(out + at, x, past);
    } else if (at < n_series) {
        const size_t n = n_series - at < lanes ? n_series - at : lanes;
        __builtin_memcpy(out + at, &x, n * sizeof(float));
    }
}

void write_pairs(const SpectrumJob& job, const float* work, size_t work_size, const FftBucket& bucket,
                 const PanelOutput& out) {
    const FftGrid& grid = *job.grid;
    for (size_t i = bucket.first_pair; i < bucket.end_pair; ++i) {
        const FftPair& pair = grid.pairs[i];
        const bool real = pair.k == 0 || 2 * size_t(pair.k) == grid.n_fft;
        float* const power = out.power == nullptr ? nullptr : out.power + pair.k * job.out_stride;
        const bool past = uintptr_t(power) % 64 == 0;
        for (size_t at = 0; at < out.n_series; at += block_series) {
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
                write(power, at, multiply_add(x.re, x.re, x.im * x.im), out.n_series, past);
                write(power, at + lanes, multiply_add(y.re, y.re, y.im * y.im), out.n_series, past);
            } else {
                float* const re = out.real + pair.k * job.out_stride;
                float* const im = out.imaginary + pair.k * job.imaginary_stride;
                write(re, at, x.re, out.n_series, false);
                write(re, at + lanes, y.re, out.n_series, false);
                write(im, at, x.im, out.n_series, false);
                write(im, at + lanes, y.im, out.n_series, false);
            }
        }
    }
}

// `blocks` hold the samples of a panel; `work` (two per block) is for residues. All blocks go through one bucket before
// the next begins, so that whole panels are written.
void transform_panel(const SpectrumJob& job, const Levels* levels, float* blocks, float* work, float* buffer,
                     const PanelOutput& out) {
    const FftGrid& grid = *job.grid;
    const FftPlan& plan = grid.plan;
    const size_t block_size = plan.n_row * row_size<Floats>, n_block = (out.n_series + block_series - 1) / block_series;
    const bool padded = grid.n_residue > 1;
    const size_t work_size = padded ? 2 * block_size : block_size;
    for (size_t b = 0; b < n_block; ++b) {
        float* const block = blocks + b * block_size;
        const Levelled levelled(levels[b], job.window_rows);
        if (padded) {
            for (size_t j = 0; j < plan.n; ++j) {
                store_row<Floats>(block + plan.place[j] * row_size<Floats>, levelled(block, plan.place[j]));
            }
        } else {
            transform_columns<Floats>(plan, block, levelled);
        }
    }
    work = padded ? work : blocks;
    for (size_t i = 0; i < grid.n_bucket; ++i) {
        const FftBucket& bucket = grid.buckets[i];
        const bool two_residues = bucket.residue != bucket.mirror_residue;
        const bool two = two_residues || bucket.group != bucket.mirror_group;
        const bool turn = padded && (i == 0 || grid.buckets[i - 1].residue != bucket.residue);
        for (size_t b = 0; b < n_block; ++b) {
            float* const here = work + b * work_size;
            float* const mirror = two_residues ? here + block_size : here;
            const auto transform = [&](float* to, size_t residue) {
                const float* const phase = grid.phase.single + residue * plan.n_row * 2;
                transform_columns<Floats>(plan, to, Turned<Floats>{blocks + b * block_size, phase});
            };
            if (turn) {
                transform(here, bucket.residue);
                if (two_residues) {
                    transform(mirror, bucket.mirror_residue);
                }
            }
            transform_group<Floats>(plan, here, bucket.group, buffer);
            if (two) {
                transform_group<Floats>(plan, mirror, bucket.mirror_group, buffer);
            }
        }
        write_pairs(job, work, work_size, bucket, out);
    }
}

// What the amplitudes of a panel are multiplied by.
void set_factors(const SpectrumJob& job, const Panel& panel, const Levels* levels, PanelOutput& out) {
    for (size_t i = 0; i < panel_series; ++i) {
        // The half that makes up for sums of two elements meets the two of a sine and its mirror image.
        const double gain = job.subtract_mean ? panel.moments.gain[i] : 2.0, count = panel.moments.count[i];
        const bool known = job.subtract_mean ? count > 0.0 && gain != 0.0 : count == double(job.n_time);
        const double scale = levels[i / block_series].scale[i % block_series];
        out.factor[i] = known ? float(1.0 / (gain * scale)) : __builtin_nanf("");
    }
}

} // namespace

size_t spectrum_scratch(const FftGrid& grid) {
    const size_t n_block = panel_blocks * (grid.n_residue > 1 ? 3 : 1);
    return (n_block * grid.plan.n_row + grid.plan.n_buffer) * row_size<Floats>;
}

void spectra(const SpectrumJob& job) {
    const FftPlan& plan = job.grid->plan;
    const size_t block_size = plan.n_row * row_size<Floats>, n_freq = job.grid->n_fft / 2 + 1;
    float* const work = job.scratch + panel_blocks * block_size;
    float* const buffer = work + (job.grid->n_residue > 1 ? 2 * panel_blocks * block_size : 0);
    Panel panel{&plan, job.window, job.scratch, block_size, 0, job.subtract_mean, {}};
    for (size_t first = 0; first < job.n_series; first += panel_series) {
        for (size_t segment = 0; segment < job.n_segment; ++segment) {
            const float* const data = job.data + segment * job.segment_step * job.row_stride + first;
            const size_t rest = job.n_series - first;
            panel.take({data, job.n_time, job.row_stride}, rest < panel_series ? rest : panel_series);
            Levels levels[panel_blocks];
            for (size_t b = 0; b < panel_blocks; ++b) {
                level_block(panel, b, levels[b]);
            }
            PanelOutput out;
            set_factors(job, panel, levels, out);
            out.n_series = panel.n_series;
            const size_t at = segment * n_freq * job.out_stride + first;
            out.power = job.power == nullptr ? nullptr : job.power + at;
            out.real = job.real == nullptr ? nullptr : job.real + at;
            out.imaginary = job.imaginary == nullptr ? nullptr : job.imaginary + first;
            transform_panel(job, levels, panel.blocks, work, buffer, out);
        }
    }
    finish_writing();
}

} // namespace starskope::detail::STARSKOPE_VARIANT
