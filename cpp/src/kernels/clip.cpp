#include "variant.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

size_t clip_scratch(size_t n_time) { return n_time; }

static void clip_series(const ClipJob& job, size_t series) {
    float* x = job.scratch;
    size_t n = 0;
    for (size_t i = 0; i < job.n_time; ++i) {
        const float v = job.data[i * job.row_stride + series];
        if (v - v == 0.0f) {
            x[n++] = v;
        }
    }
    for (size_t gap = n / 2; gap > 0; gap /= 2) {
        for (size_t i = gap; i < n; ++i) {
            const float v = x[i];
            size_t j = i;
            for (; j >= gap && x[j - gap] > v; j -= gap) {
                x[j] = x[j - gap];
            }
            x[j] = v;
        }
    }
    size_t lo = 0, hi = n;
    double mean = 0, std = 0, median = 0;
    auto statistics = [&] {
        const size_t m = hi - lo;
        double sum = 0, square = 0;
        for (size_t i = lo; i < hi; ++i) {
            sum += x[i];
        }
        mean = sum / double(m);
        for (size_t i = lo; i < hi; ++i) {
            square += (x[i] - mean) * (x[i] - mean);
        }
        std = __builtin_sqrt(square / double(m));
        median = m ? 0.5 * (double(x[lo + (m - 1) / 2]) + x[lo + m / 2]) : __builtin_nan("");
    };
    statistics();
    double low = -__builtin_inf(), high = __builtin_inf();
    for (int iteration = 0; hi > lo && iteration != job.max_iters; ++iteration) {
        const double center = job.center_median ? median : mean;
        low = job.sigma_low == __builtin_inf() ? -__builtin_inf() : center - job.sigma_low * std;
        high = job.sigma_high == __builtin_inf() ? __builtin_inf() : center + job.sigma_high * std;
        const size_t before = hi - lo;
        while (lo < hi && x[lo] < low) {
            ++lo;
        }
        while (lo < hi && x[hi - 1] > high) {
            --hi;
        }
        if (hi - lo == before || hi == lo) {
            break;
        }
        statistics();
    }
    if (lo < hi) {
        while (lo > 0 && x[lo - 1] >= low) {
            --lo;
        }
        while (hi < n && x[hi] <= high) {
            ++hi;
        }
    }
    statistics();
    if (job.mean) {
        job.mean[series] = float(mean);
    }
    if (job.median) {
        job.median[series] = float(median);
    }
    if (job.std) {
        job.std[series] = float(std);
    }
    if (job.count) {
        job.count[series] = int32_t(hi - lo);
    }
}

void clip(const ClipJob& job) {
    for (size_t series = 0; series < job.n_series; ++series) {
        clip_series(job, series);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
