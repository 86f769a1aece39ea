#include "box_trials.hpp"

#include <cmath>

namespace starskope {

void require_trials(const BoxTrials& trials) {
    const std::size_t n_period = trials.period.size, n_duration = trials.duration.size;
    require_size(trials.period, n_period, "period");
    require_size(trials.duration, n_duration, "duration");
    require_size(trials.first, n_period, "first");
    require_size(trials.last, n_period, "last");
    if (trials.oversample < 1) {
        throw std::invalid_argument("oversample=" + std::to_string(trials.oversample) + ": expected 1 or more");
    }
    for (std::size_t k = 0; k < n_duration; ++k) {
        const double duration = trials.duration.data[k];
        if (!(duration > (k > 0 ? trials.duration.data[k - 1] : 0.0)) || std::isinf(duration)) {
            throw std::invalid_argument(element("duration", k, duration) + ": expected more than 0, shortest first");
        }
    }
    for (std::size_t p = 0; p < n_period; ++p) {
        const double period = trials.period.data[p];
        const std::int32_t first = trials.first.data[p], last = trials.last.data[p];
        if (first < 0 || last > static_cast<std::int64_t>(n_duration)) {
            throw std::invalid_argument(element("first", p, first) + ", " + element("last", p, last) +
                                        ": expected a range of " + std::to_string(n_duration) + " durations");
        }
        if (!(period > 0.0) || std::isinf(period)) {
            throw std::invalid_argument(element("period", p, period) + ": expected more than 0");
        }
        if (first < last && period / (trials.duration.data[first] / trials.oversample) > max_box_bins) {
            throw std::invalid_argument(element("period", p, period) + ": more than " + std::to_string(max_box_bins) +
                                        " bins of duration " + std::to_string(trials.duration.data[first]) + " / " +
                                        std::to_string(trials.oversample));
        }
    }
}

void BoxPlanned::make(const BoxTrials& trials, std::size_t p, const BoxStars& stars, std::uint32_t* scratch) {
    duration.clear();
    first = trials.first.data[p];
    if (first >= trials.last.data[p] || stars.time.empty()) {
        return;
    }
    const double period = trials.period.data[p], bin_width = trials.duration.data[first] / trials.oversample;
    n_bin = static_cast<std::size_t>(std::ceil(period / bin_width));
    for (std::int32_t k = first; k < trials.last.data[p]; ++k) {
        const double bins = std::floor(trials.duration.data[k] / bin_width + 0.5);
        if (bins >= static_cast<double>(n_bin)) {
            break;
        }
        duration.push_back(static_cast<std::int32_t>(bins));
    }
    if (duration.empty()) {
        return;
    }
    const bool common = stars.tiles.front().weights == detail::box_weights_common;
    row.resize(stars.time.size());
    begin.resize(n_bin + 2);
    weight.resize(common ? n_row() : 0);
    root.resize(common ? duration.size() * n_bin : 0);
    plan = {row.data(), begin.data(), weight.data(), root.data()};
    detail::active().box_plan({
        .time = stars.time.data(),
        .n_time = stars.time.size(),
        .shared = stars.shared.empty() ? nullptr : stars.shared.data(),
        .period = period,
        .bin_width = bin_width,
        .n_bin = n_bin,
        .duration = duration.data(),
        .n_duration = duration.size(),
        .likelihood = trials.objective == BoxObjective::likelihood,
        .weights = common,
        .plan = plan,
        .scratch = scratch,
    });
}

} // namespace starskope
