// Lomb-Scargle periodograms on a regular cadence: all sums over points are elements of transforms of zero-filled
// series.
//
// Series that share mask and weights share the transform of the weights, taken once in float64: of the cosine and sine
// parts of a series two sums of squares are left. Other series are transformed together with what sets their weights
// apart from those that most of their panel have, as real and imaginary parts, so that what is subtracted from nearly
// itself at low frequencies keeps float64 accuracy. A series that has little in common with the others goes alone.
#include "lomb_group.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Weights of the points that all series of a panel have, or else most of them, to `weights`; true if all have the same.
bool common_weights(const LombScargleJob& job, const Panel& panel, float* weights) {
    bool same = true;
    alignas(64) float live[panel_series];
    size_t n_live = 0;
    for (size_t i = 0; i < panel_series; ++i) {
        const bool some = i < panel.n_series && panel.moments.count[i] > 0.0;
        live[i] = some ? 1.0f : 0.0f;
        n_live += some;
    }
    Floats live_lanes{};
    for (size_t i = 0; i < panel_series; i += lanes) {
        live_lanes += load<Floats>(live + i);
    }
    for (size_t j = 0; j < job.n_time; ++j) {
        weights[j] = job.shared_weights[j];
        if (!panel.gaps || weights[j] == 0.0f) {
            continue;
        }
        Floats there{};
        const size_t row = panel.plan->place[j];
        for (size_t i = 0; i < panel.n_series; i += block_series) {
            const Complex<Floats> x =
                load_row<Floats>(panel.blocks + i / block_series * panel.block_size + row * row_size<Floats>);
            const Complex<Floats> some = load_row<Floats>(live + i);
            there += (x.re == x.re ? some.re : Floats{}) + (x.im == x.im ? some.im : Floats{});
        }
        if (!any(Longs(there != live_lanes))) {
            continue;
        }
        float n = 0.0f;
        for (size_t i = 0; i < lanes; ++i) {
            n += there[i];
        }
        same = same && (n == 0.0f || n == float(n_live));
        weights[j] = 2.0f * n >= float(n_live) && n > 0.0f ? weights[j] : 0.0f;
    }
    return same;
}

// Where the points of a panel are those of the reference.
void write_shared(const LombScargleJob& job, const Scratch& scratch, const Reference& reference, Panel& panel,
                  size_t first) {
    alignas(64) float factor[panel_series], rest[block_series];
    const double total = reference.total();
    Levels levels;
    for (size_t b = 0; b * block_series < panel.n_series; ++b) {
        for (size_t i = 0; i < block_series; ++i) {
            const size_t at = b * block_series + i;
            const double mean = panel.mean(at), square = panel.square(at, mean);
            const double scale = inverse_scale(__builtin_sqrt(square));
            levels.scale[i] = float(scale);
            levels.shift[i] = float(mean * scale);
            rest[i] = float(mean * scale - double(levels.shift[i]));
            const bool known = panel.moments.count[at] >= least_points && square > 0.0;
            factor[at] = known ? float(0.5 / (total * scale * __builtin_sqrt(square))) : __builtin_nanf("");
        }
        const Complex<Floats> scale = load_row<Floats>(levels.scale), shift = load_row<Floats>(levels.shift);
        const Complex<Floats> low = load_row<Floats>(rest);
        float* const block = panel.blocks + b * panel.block_size;
        for (size_t j = 0; j < job.n_time; ++j) {
            float* const row = block + panel.plan->place[j] * row_size<Floats>;
            const Complex<Floats> x = load_row<Floats>(row);
            const Floats w = splat(scratch.weights[j]);
            const Floats re = (multiply_subtract(x.re, scale.re, shift.re) - low.re) * w;
            const Floats im = (multiply_subtract(x.im, scale.im, shift.im) - low.im) * w;
            store_row<Floats>(row, {x.re == x.re ? re : Floats{}, x.im == x.im ? im : Floats{}});
        }
    }
    const auto write_powers = [&](const FftBucket& bucket, const float* blocks, size_t size) {
        for (size_t i = bucket.first_pair; i < bucket.end_pair; ++i) {
            const FftPair& pair = job.grid->pairs[i];
            if (pair.k == 0 || pair.k > job.n_freq) {
                continue;
            }
            float* const out = job.power + (pair.k - 1) * job.power_stride + first;
            const float* const axes = scratch.tables + 8 * (pair.k - 1);
            const Floats a = splat(axes[0]), b = splat(axes[1]), c = splat(axes[2]), d = splat(axes[3]);
            for (size_t at = 0; at < panel.n_series; at += block_series) {
                const float* const block = blocks + at / block_series * size;
                const Complex<Floats> z = load_row<Floats>(block + pair.row * row_size<Floats>);
                const Complex<Floats> m = load_row<Floats>(block + pair.mirror * row_size<Floats>);
                const Complex<Floats> f = load_row<Floats>(factor + at);
                const auto power = [&](Floats cosine, Floats sine) __attribute__((always_inline)) {
                    const Floats major = multiply_add(a, cosine, b * sine), minor = multiply_add(c, cosine, d * sine);
                    return multiply_add(major, major, minor * minor);
                };
                write(out, at, power((z.re + m.re) * f.re, (z.im - m.im) * f.re), panel.n_series);
                write(out, at + lanes, power((z.im + m.im) * f.im, (m.re - z.re) * f.im), panel.n_series);
            }
        }
    };
    transform_panel(
        *job.grid, panel.n_series, panel.blocks, scratch.work, scratch.buffer,
        [&](size_t, float* block) { transform_columns(job.grid->plan, block); }, write_powers);
}

} // namespace

size_t lomb_scargle_scratch(const FftGrid& grid, size_t n_time, size_t n_freq) {
    return Layout(grid, n_time, n_freq).end;
}

void lomb_scargle(const LombScargleJob& job) {
    const Scratch scratch(job.scratch, Layout(*job.grid, job.n_time, job.n_freq));
    const size_t block_size = job.grid->plan.n_row * row_size<Floats>;
    Reference reference{job, scratch};
    for (size_t first = 0; first < job.n_series; first += panel_series) {
        const size_t n = job.n_series - first < panel_series ? job.n_series - first : panel_series;
        Panel panel{&job.grid->plan, job.shared_weights, scratch.panel, block_size, Weights::window, 0, false, {}};
        panel.take({job.data + first, job.n_time, job.row_stride}, n);
        const bool same = common_weights(job, panel, scratch.next);
        reference.set();
        if (same && job.weights == nullptr) {
            write_shared(job, scratch, reference, panel, first);
            continue;
        }
        for (size_t i = 0; i < n; i += lanes) {
            Group group{};
            group.first = first + i;
            group.n = n - i < lanes ? n - i : lanes;
            write_group(job, scratch, reference, group);
            for (size_t lane = 0; lane < group.n; ++lane) {
                if (group.alone[lane]) {
                    write_alone(job, scratch, first + i + lane);
                }
            }
        }
    }
    finish_writing();
}

} // namespace starskope::detail::STARSKOPE_VARIANT
