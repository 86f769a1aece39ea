// Lomb-Scargle periodograms on a regular cadence: all sums over points are elements of transforms of zero-filled
// series, gridded so that the transform may have a cheap length near twice that of the series, whatever the
// frequencies.
//
// Series that share mask and weights share the transform of the weights, taken once in float64: of the cosine and sine
// parts of a series two sums of squares are left. Other series are transformed together with their weights, as real and
// imaginary parts. Where cosine and sine can hardly be told from a constant or from each other, float32 would lose what
// is left of them: these few frequencies are summed point by point in float64.
#include "lomb_group.hpp"
#include "lomb_shared.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Weights of the points that all series of a panel have, to `weights`; false if some series lacks a point of others.
bool common_weights(const LombScargleJob& job, const Panel& panel, float* weights) {
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
        for (size_t i = 0; i < panel.n_series; i += block_series) {
            const Complex<Floats> x =
                load_row<Floats>(panel.blocks + i / block_series * panel.block_size + j * row_size<Floats>);
            const Complex<Floats> some = load_row<Floats>(live + i);
            there += (x.re == x.re ? some.re : Floats{}) + (x.im == x.im ? some.im : Floats{});
        }
        if (!any(Longs(there != live_lanes))) {
            continue;
        }
        if (any(Longs(there != 0.0f))) {
            return false;
        }
        weights[j] = n_live > 0 ? 0.0f : weights[j];
    }
    return true;
}

// Counts and spreads of series that all have the points of the reference.
void extent_of_all(const LombScargleJob& job, const Scratch& scratch, const Panel& panel, size_t first) {
    double total = 0.0, moment = 0.0, inertia = 0.0;
    for (size_t j = 0; j < job.n_time; ++j) {
        const double w = double(scratch.weights[j]), place = double(j) - 0.5 * double(job.n_time);
        total += w;
        moment += w * place;
        inertia += w * place * place;
    }
    total = total > 0.0 ? total : 1.0;
    for (size_t i = 0; i < panel.n_series; ++i) {
        const bool some = panel.moments.count[i] > 0.0;
        job.count[first + i] = panel.moments.count[i];
        job.spread[first + i] = some ? inertia / total - moment / total * (moment / total) : 0.0;
    }
}

// Copies the weights of each series to rows like those of the panel's samples.
void take_errors(const LombScargleJob& job, size_t first, size_t n, float* errors) {
    const size_t block_size = job.n_time * row_size<Floats>;
    for (size_t j = 0; j < job.n_time; ++j) {
        const float* const from = job.weights + j * job.weights_stride + first;
        if (j + rows_ahead < job.n_time) {
            for (size_t i = 0; i < n; i += 16) {
                __builtin_prefetch(from + rows_ahead * job.weights_stride + i);
            }
        }
        for (size_t i = 0; i < n; i += block_series) {
            float* const to = errors + i / block_series * block_size + j * row_size<Floats>;
            const size_t left = n - i < block_series ? n - i : block_series;
            __builtin_memcpy(to, from + i, left * sizeof(float));
            __builtin_memset(to + left, 0, (block_series - left) * sizeof(float));
        }
    }
}

} // namespace

size_t lomb_scargle_scratch(const LombGrid& grid, size_t n_time, size_t n_freq, bool own_weights) {
    return Layout(grid, n_time, n_freq, own_weights).end;
}

void lomb_scargle(const LombScargleJob& job) {
    const bool own_weights = job.weights != nullptr;
    const Scratch scratch(job.scratch, Layout(*job.grid, job.n_time, job.n_freq, own_weights));
    const size_t block_size = job.n_time * row_size<Floats>;
    FftPlan in_order = job.grid->fine->plan; // of the samples as they come
    in_order.n = uint32_t(job.n_time);
    in_order.place = job.grid->order;
    Reference reference{job, scratch};
    for (size_t first = 0; first < job.n_series; first += panel_series) {
        const size_t n = job.n_series - first < panel_series ? job.n_series - first : panel_series;
        Panel panel{&in_order, job.shared_weights, scratch.panel, block_size, Weights::window, 0, false, {}};
        panel.take({job.data + first, job.n_time, job.row_stride}, n);
        if (!own_weights && common_weights(job, panel, scratch.next)) {
            reference.set();
            if (job.count != nullptr) {
                extent_of_all(job, scratch, panel, first);
            }
            write_shared(job, scratch, reference, panel, first);
            continue;
        }
        if (own_weights) {
            take_errors(job, first, n, scratch.errors);
        }
        for (size_t i = 0; i < n; i += lanes) {
            const size_t at = i / block_series * block_size + i % block_series, left = n - i < lanes ? n - i : lanes;
            Group group{};
            group.samples = scratch.panel + at;
            group.errors = own_weights ? scratch.errors + at : nullptr;
            group.shared = job.shared_weights;
            double* const count = job.count == nullptr ? nullptr : job.count + first + i;
            measure_group(job, group, count, job.spread == nullptr ? nullptr : job.spread + first + i, left);
            write_group(job, scratch, group, job.power + first + i, left);
        }
    }
    finish_writing();
}

} // namespace starskope::detail::STARSKOPE_VARIANT
