#include "starskope/stack.hpp"

#include <cmath>
#include <limits>

#include "dispatch.hpp"

namespace starskope {
namespace {

void require_sigma(double sigma, const char* name) {
    if (!(sigma > 0.0)) {
        throw std::invalid_argument(std::string(name) + "=" + std::to_string(sigma) + ": expected a number above 0");
    }
}

template <class T>
void require_output(const View1<T>& view, std::size_t n_series, const char* name) {
    if (view) {
        require_size(view, n_series, name);
    }
}

} // namespace

void series_statistics(View2<const float> data, const Clip& clip, const SeriesStatistics& out) {
    require_rows(data, "data");
    if (clip.max_iters != 0) {
        require_sigma(clip.sigma_low, "sigma_low");
        require_sigma(clip.sigma_high, "sigma_high");
    }
    if (clip.max_iters < until_stable) {
        throw std::invalid_argument("max_iters=" + std::to_string(clip.max_iters) +
                                    ": expected 0 or more, or -1 to clip until nothing changes");
    }
    if (data.n_row > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()) / 2) {
        throw std::invalid_argument("data: " + std::to_string(data.n_row) + " times are more than the counts can hold");
    }
    require_output(out.mean, data.n_col, "mean");
    require_output(out.median, data.n_col, "median");
    require_output(out.std, data.n_col, "std");
    require_output(out.count, data.n_col, "count");
    if (data.n_col == 0) {
        return;
    }
    const detail::Kernels& kernels = detail::active();
    const auto scratch = detail::make_scratch<float>(kernels.clip_scratch(data.n_row));
    kernels.clip({
        .data = data.data,
        .n_time = data.n_row,
        .n_series = data.n_col,
        .row_stride = data.stride,
        .sigma_low = clip.sigma_low,
        .sigma_high = clip.sigma_high,
        .max_iters = clip.max_iters,
        .center_median = clip.center == Center::median,
        .mean = out.mean.data,
        .median = out.median.data,
        .std = out.std.data,
        .count = out.count.data,
        .scratch = scratch.get(),
    });
}

} // namespace starskope
