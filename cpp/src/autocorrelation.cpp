#include <vector>

#include "dispatch.hpp"
#include "factors.hpp"
#include "planner.hpp"
#include "recent_plans.hpp"
#include "shapes.hpp"
#include "starskope/spectra.hpp"

namespace starskope {
namespace {

// A length that holds all pairs, as a plan: finding it costs more than many a call.
struct CorrelationLength {
    CorrelationLength(std::size_t n_time, std::size_t n_lag) : grid(detail::cheap_length(n_time + n_lag - 1)) {}
    std::size_t grid;
};

} // namespace

void autocorrelation(View2<const float> data, View2<float> out, bool unbiased) {
    require_rows(data, "data");
    detail::require_shape(out, out.n_row, data.n_col, "out");
    if (out.n_row < 1 || out.n_row > data.n_row || data.n_row > max_fft_length / 4) {
        throw std::invalid_argument("out: has " + std::to_string(out.n_row) + " lags, expected 1 to the " +
                                    std::to_string(data.n_row) + " times of the data, at most " +
                                    std::to_string(max_fft_length / 4));
    }
    if (data.n_col == 0) {
        return;
    }
    static detail::RecentPlans<CorrelationLength, 32> lengths;
    const std::size_t n_fft = *lengths.of(data.n_row, out.n_row);
    const auto grid = detail::plan_fft(n_fft, n_fft);
    const std::vector<float> ones(grid->plan.n_row, 1.0f);
    const detail::Kernels& kernels = detail::active();
    const auto scratch = detail::make_scratch<float>(kernels.autocorrelation_scratch(*grid));
    kernels.autocorrelation({.grid = grid.get(),
                             .data = data.data,
                             .n_time = data.n_row,
                             .n_series = data.n_col,
                             .row_stride = data.stride,
                             .window = ones.data(),
                             .window_rows = ones.data(),
                             .unbiased = unbiased,
                             .out = out.data,
                             .n_lag = out.n_row,
                             .out_stride = out.stride,
                             .scratch = scratch.get()});
}

} // namespace starskope
