#include "starskope/stack.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

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

template <class T>
void require_shape(const View2<T>& view, std::size_t n_time, std::size_t n_series, const char* name) {
    require_rows(view, name);
    if (view.n_row != n_time || view.n_col != n_series) {
        throw std::invalid_argument(std::string(name) + ": is " + std::to_string(view.n_row) + " x " +
                                    std::to_string(view.n_col) + ", expected " + std::to_string(n_time) + " x " +
                                    std::to_string(n_series));
    }
}

void require_times(std::size_t n_time) {
    if (n_time > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()) / 2) {
        throw std::invalid_argument("frames: " + std::to_string(n_time) + " times are more than the counts can hold");
    }
}

detail::SeriesRows checked(const Frames& frames) {
    const std::size_t n_time = frames.rows.size, n_series = frames.n_series;
    require_times(n_time);
    if (n_time != 0 && !frames.rows) {
        throw std::invalid_argument("frames: null pointer for " + std::to_string(n_time) + " rows");
    }
    for (std::size_t i = 0; n_series != 0 && i < n_time; ++i) {
        if (frames.rows.data[i] == nullptr) {
            throw std::invalid_argument("frames: row " + std::to_string(i) + " is a null pointer");
        }
    }
    if (frames.mask.data != nullptr) {
        require_shape(frames.mask, n_time, n_series, "mask");
    }
    if (frames.frame_weight) {
        require_size(frames.frame_weight, n_time, "frame_weight");
    }
    if (frames.weight.data != nullptr) {
        require_shape(frames.weight, n_time, n_series, "weight");
    }
    return {
        .row = frames.rows.data,
        .n_time = n_time,
        .n_series = n_series,
        .swapped = frames.order == ByteOrder::big && std::endian::native == std::endian::little,
        .mask = frames.mask.data,
        .mask_stride = frames.mask.stride,
        .frame_weight = frames.frame_weight.data,
        .weight = frames.weight.data,
        .weight_stride = frames.weight.stride,
    };
}

void require_moments(const SeriesMoments& moments, std::size_t n_series) {
    require_size(moments.count, n_series, "count");
    require_size(moments.mean, n_series, "mean");
    require_size(moments.squares, n_series, "squares");
}

} // namespace

void series_statistics(const Frames& frames, const Clip& clip, const SeriesStatistics& out) {
    const detail::SeriesRows series = checked(frames);
    if (clip.max_iters != 0) {
        require_sigma(clip.sigma_low, "sigma_low");
        require_sigma(clip.sigma_high, "sigma_high");
    }
    if (clip.max_iters < until_stable) {
        throw std::invalid_argument("max_iters=" + std::to_string(clip.max_iters) +
                                    ": expected 0 or more, or -1 to clip until nothing changes");
    }
    require_output(out.mean, series.n_series, "mean");
    require_output(out.median, series.n_series, "median");
    require_output(out.std, series.n_series, "std");
    require_output(out.count, series.n_series, "count");
    if (out.rejected.data != nullptr) {
        require_shape(out.rejected, series.n_time, series.n_series, "rejected");
    }
    const bool any = out.mean || out.median || out.std || out.count || out.rejected.data != nullptr;
    if (series.n_series == 0 || !any) {
        return;
    }
    const detail::Kernels& kernels = detail::active();
    const bool weighted = series.frame_weight != nullptr || series.weight != nullptr;
    const bool bounded = clip.max_iters != 0 && (weighted || out.rejected.data != nullptr);
    const auto bounds = detail::make_scratch<double>(bounded ? 2 * series.n_series : 0);
    detail::ClipJob job{
        .series = series,
        .sigma_low = clip.sigma_low,
        .sigma_high = clip.sigma_high,
        .max_iters = clip.max_iters,
        .center_median = clip.center == Center::median,
        .scale_mad = clip.scale == Scale::mad,
        .mean = out.mean.data,
        .median = out.median.data,
        .std = out.std.data,
        .count = out.count.data,
        .lower = bounded ? bounds.get() : nullptr,
        .upper = bounded ? bounds.get() + series.n_series : nullptr,
        .rejected = nullptr,
        .rejected_stride = out.rejected.stride,
        .scratch = nullptr,
    };
    const std::size_t for_clip = kernels.clip_scratch(job), for_moments = kernels.moments_scratch();
    const auto scratch = detail::make_scratch<float>(for_clip > for_moments ? for_clip : for_moments);
    job.scratch = scratch.get();
    kernels.clip(job);
    if (weighted || out.rejected.data != nullptr) {
        job.rejected = out.rejected.data;
        kernels.survivors(job);
    }
}

void series_statistics(View2<const float> data, const Clip& clip, const SeriesStatistics& out) {
    require_rows(data, "data");
    require_times(data.n_row);
    std::vector<const unsigned char*> rows(data.n_row);
    for (std::size_t i = 0; i < data.n_row && data.data != nullptr; ++i) {
        rows[i] = reinterpret_cast<const unsigned char*>(data.data + i * data.stride);
    }
    series_statistics(Frames{.rows = {rows.data(), rows.size()}, .n_series = data.n_col}, clip, out);
}

void add_frames(const Frames& frames, const SeriesMoments& moments) {
    const detail::SeriesRows series = checked(frames);
    if (series.frame_weight != nullptr || series.weight != nullptr) {
        throw std::invalid_argument("weights: moments are of plain values; take series_statistics for weighted means");
    }
    require_moments(moments, series.n_series);
    const detail::Kernels& kernels = detail::active();
    const auto scratch = detail::make_scratch<float>(kernels.moments_scratch());
    kernels.accumulate({.series = series,
                        .count = moments.count.data,
                        .mean = moments.mean.data,
                        .squares = moments.squares.data,
                        .scratch = scratch.get()});
}

void merge_moments(const SeriesMoments& into, const SeriesMoments& from) {
    require_moments(into, into.count.size);
    require_moments(from, into.count.size);
    for (std::size_t i = 0; i < into.count.size; ++i) {
        const double n = from.count.data[i], total = into.count.data[i] + n;
        if (n > 0.0) {
            const double shift = from.mean.data[i] - into.mean.data[i], part = n / total;
            into.squares.data[i] += from.squares.data[i] + shift * shift * into.count.data[i] * part;
            into.mean.data[i] += shift * part;
            into.count.data[i] = total;
        }
    }
}

} // namespace starskope
