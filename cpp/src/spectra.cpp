#include "starskope/spectra.hpp"

#include <algorithm>
#include <cmath>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "planner.hpp"
#include "shapes.hpp"

namespace starskope {
namespace {

// The window, ones where none is given, and the same in the order of the plan's rows.
struct Window {
    Window(View1<const float> given, std::size_t n_time, const detail::FftPlan& plan)
        : values(n_time, 1.0f), rows(plan.n_row, 0.0f) {
        for (std::size_t j = 0; j < n_time; ++j) {
            if (given) {
                values[j] = given.data[j];
                if (!std::isfinite(values[j])) {
                    throw std::invalid_argument("window[" + std::to_string(j) + "]=" + std::to_string(values[j]) +
                                                ": expected a finite number");
                }
            }
            rows[plan.place[j]] = values[j];
        }
    }
    std::vector<float> values, rows;
};

// Transforms of windows in use of late: one transform in float64 costs as much as those of a dozen series.
class WindowTransforms {
  public:
    using Values = std::shared_ptr<const std::vector<float>>;

    Values of(const detail::FftGrid& grid, const std::vector<float>& window, const detail::Kernels& kernels) {
        const std::lock_guard lock(mutex_);
        for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
            if (entry->n_fft == grid.n_fft && entry->kernels == &kernels && entry->window == window) {
                entries_.splice(entries_.begin(), entries_, entry);
                return entry->values;
            }
        }
        entries_.push_front({grid.n_fft, &kernels, window, transform(grid, window, kernels)});
        if (entries_.size() > 8) {
            entries_.pop_back();
        }
        return entries_.front().values;
    }

  private:
    // Below this part of the largest element it only repeats the rounding of the window's values.
    static constexpr double negligible = 2e-9;

    static Values transform(const detail::FftGrid& grid, const std::vector<float>& window,
                            const detail::Kernels& kernels) {
        const auto scratch = detail::make_scratch<double>(kernels.window_scratch(grid));
        std::vector<double> exact(2 * (std::size_t{grid.n_fft} / 2 + 1));
        kernels.window_transform(grid, window.data(), exact.data(), scratch.get());
        double largest = 0.0;
        for (const double part : exact) {
            largest = std::max(largest, std::abs(part));
        }
        auto values = std::make_shared<std::vector<float>>();
        for (const double part : exact) {
            values->push_back(std::abs(part) < negligible * largest ? 0.0f : float(part));
        }
        return values;
    }

    struct Entry {
        std::size_t n_fft;
        const detail::Kernels* kernels;
        std::vector<float> window;
        Values values;
    };
    std::mutex mutex_;
    std::list<Entry> entries_;
};

void run(detail::SpectrumJob job, View1<const float> window, std::size_t n_fft, const SpectrumOptions& options) {
    if (!(std::isfinite(options.cadence) && options.cadence > 0.0)) {
        throw std::invalid_argument("cadence=" + std::to_string(options.cadence) + ": expected a number above 0");
    }
    if (job.n_series == 0) {
        return;
    }
    const auto grid = detail::plan_fft(job.n_time, n_fft);
    const Window taper(window, job.n_time, grid->plan);
    const detail::Kernels& kernels = detail::active();
    const auto scratch = detail::make_scratch<float>(kernels.spectrum_scratch(*grid));
    static WindowTransforms transforms;
    WindowTransforms::Values of_window;
    if (grid->n_residue == 1 && job.n_time == grid->plan.n) {
        of_window = transforms.of(*grid, taper.values, kernels);
        job.window_transform = of_window->data();
    }
    job.linear = options.trend == Trend::linear;
    job.density = options.normalization == Normalization::density;
    job.cadence = options.cadence;
    job.grid = grid.get();
    job.window = taper.values.data();
    job.window_rows = taper.rows.data();
    job.scratch = scratch.get();
    kernels.spectra(job);
}

} // namespace

void power_spectrum(View2<const float> data, View1<const float> window, std::size_t n_fft, View2<float> out,
                    const SpectrumOptions& options) {
    require_rows(data, "data");
    detail::require_room(data.n_row, n_fft, n_fft, "n_fft", "times");
    detail::require_shape(out, n_fft / 2 + 1, data.n_col, "out");
    if (window) {
        require_size(window, data.n_row, "window");
    }
    run({.data = data.data,
         .n_time = data.n_row,
         .n_series = data.n_col,
         .row_stride = data.stride,
         .n_segment = 1,
         .power = out.data,
         .out_stride = out.stride},
        window, n_fft, options);
}

void spectrogram(View2<const float> data, View1<const float> window, std::size_t segment, std::size_t step,
                 View2<float> out, const SpectrumOptions& options) {
    require_rows(data, "data");
    detail::require_length(segment, "segment");
    if (step < 1) {
        throw std::invalid_argument("step=0: expected 1 or more");
    }
    if (data.n_row < segment) {
        throw std::invalid_argument("segment=" + std::to_string(segment) + ": the data have " +
                                    std::to_string(data.n_row) + " times");
    }
    if (window) {
        require_size(window, segment, "window");
    }
    const std::size_t n_segment = 1 + (data.n_row - segment) / step;
    detail::require_shape(out, n_segment * (segment / 2 + 1), data.n_col, "out");
    run({.data = data.data,
         .n_time = segment,
         .n_series = data.n_col,
         .row_stride = data.stride,
         .n_segment = n_segment,
         .segment_step = step,
         .power = out.data,
         .out_stride = out.stride},
        window, segment, options);
}

} // namespace starskope
