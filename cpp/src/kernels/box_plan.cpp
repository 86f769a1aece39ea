// What one period costs once for all stars: the bin of every time, the rows in order of bins, and where weights are
// common the root of every box's gain.
#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Phases as astropy computes them, so that a regular cadence on bin edges falls to the same side.
void find_bins(const BoxPlanJob& job, uint32_t* bin) {
    const double period = job.period, bin_width = job.bin_width, last = double(job.n_bin - 1);
    const double* const time = job.time;
    for (size_t i = 0; i < job.n_time; ++i) {
        const double x = time[i];
        double at = (x - period * __builtin_floor(x / period)) / bin_width;
        at = at >= 0.0 ? at : 0.0; // no number where a period is too small for one
        at = at > last ? last : at;
        bin[i] = uint32_t(int32_t(at));
    }
}

// Counting sort: rows of one bin stay in order of time.
void sort_by_bin(const BoxPlanJob& job, const uint32_t* bin) {
    const size_t n = job.n_time, n_bin = job.n_bin;
    uint32_t* const begin = job.plan.begin; // one slot more than bins, and another for counts two to the right
    for (size_t b = 0; b < n_bin + 2; ++b) {
        begin[b] = 0;
    }
    for (size_t i = 0; i < n; ++i) {
        ++begin[bin[i] + 2];
    }
    for (size_t b = 1; b <= n_bin; ++b) {
        begin[b + 1] += begin[b];
    }
    // Now begin[b + 1] is where bin b begins; it moves to where bin b ends.
    for (size_t i = 0; i < n; ++i) {
        job.plan.row[begin[bin[i] + 1]++] = uint32_t(i);
    }
}

// Running sums of the common weights over bins, the first `longest` bins once more behind the last.
void sum_weights(const BoxPlanJob& job, size_t longest) {
    const size_t n_bin = job.n_bin;
    const uint32_t* const begin = job.plan.begin;
    double* const weight = job.plan.weight;
    if (job.shared == nullptr) {
        for (size_t b = 0; b <= n_bin; ++b) {
            weight[b] = double(int32_t(begin[b]));
        }
    } else {
        double sum = 0.0;
        for (size_t b = 0; b < n_bin; ++b) {
            weight[b] = sum;
            for (size_t i = begin[b]; i < begin[b + 1]; ++i) {
                sum += job.shared[job.plan.row[i]];
            }
        }
        weight[n_bin] = sum;
    }
    const double all = weight[n_bin];
    for (size_t b = 1; b <= longest; ++b) {
        weight[n_bin + b] = all + weight[b];
    }
}

template <bool likelihood>
void find_roots(const BoxPlanJob& job) {
    const size_t n_bin = job.n_bin;
    const double* const weight = job.plan.weight;
    const double all = weight[n_bin], least = 1e-12 * all;
    for (size_t k = 0; k < job.n_duration; ++k) {
        float* const root = job.plan.root + k * n_bin;
        const double* const behind = weight + job.duration[k];
        for (size_t b = 0; b < n_bin; ++b) {
            const double inside = behind[b] - weight[b], outside = all - inside;
            double over = 2.0 * inside * outside;
            if constexpr (likelihood) {
                over *= outside / all;
            }
            // All points inside, or none: there is nothing to compare.
            const bool fair = (inside > least) & (outside > least);
            root[b] = float(fair ? __builtin_sqrt(all / over) : 0.0);
        }
    }
}

} // namespace

void box_plan(const BoxPlanJob& job) {
    find_bins(job, job.scratch);
    sort_by_bin(job, job.scratch);
    if (job.weights) {
        sum_weights(job, size_t(job.duration[job.n_duration - 1]));
        job.likelihood ? find_roots<true>(job) : find_roots<false>(job);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
