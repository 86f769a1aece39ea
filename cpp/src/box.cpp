#include "starskope/box.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "dispatch.hpp"

namespace starskope {
namespace {

constexpr std::size_t width = detail::box_tile_series;
// Periods planned together. A tile of stars stays in cache while it is searched at all of them.
constexpr std::size_t chunk = 16;

// Up to `width` stars whose weights are all common or all their own.
struct Tile {
    bool weighted = false;
    std::size_t n_star = 0;
    std::size_t column[width] = {};
    detail::BoxStar star[width] = {};
    std::unique_ptr<std::int32_t[], detail::AlignedDelete> series;
};

std::string at(const char* name, std::size_t i, double value) {
    return std::string(name) + "[" + std::to_string(i) + "]=" + std::to_string(value);
}

bool usable(float flux, const float* error) {
    const double inverse = error == nullptr ? 1.0 : 1.0 / static_cast<double>(*error);
    return std::isfinite(flux) && inverse * inverse > 0.0 && std::isfinite(inverse * inverse);
}

// One error per element of a block, however few there are.
struct Errors {
    View2<const float> view;

    const float* operator()(std::size_t i, std::size_t star) const {
        return view.data == nullptr
                   ? nullptr
                   : view.data + (view.n_row == 1 ? 0 : i * view.stride) + (view.n_col == 1 ? 0 : star);
    }
};

} // namespace

struct BoxSearch::Impl {
    std::size_t n_star = 0;
    std::vector<double> time;   // of the rows that any star has, since the first time of all
    std::vector<double> shared; // weights of these rows, mean 1; empty: all alike
    std::vector<double> weight;
    std::vector<Tile> tiles;

    Impl(View1<const double> times, View2<const float> flux, Errors errors);
    void add(const std::vector<std::size_t>& stars, bool weighted, const std::vector<std::size_t>& rows,
             View2<const float> flux, Errors errors);
};

BoxSearch::Impl::Impl(View1<const double> times, View2<const float> flux, Errors errors)
    : n_star(flux.n_col), weight(flux.n_col) {
    const std::size_t n_time = flux.n_row;
    std::vector<std::size_t> count(n_star, 0), rows;
    for (std::size_t i = 0; i < n_time; ++i) {
        bool any = false;
        for (std::size_t star = 0; star < n_star; ++star) {
            const bool there = usable(flux.data[i * flux.stride + star], errors(i, star));
            count[star] += there;
            any |= there;
        }
        if (any) {
            rows.push_back(i);
            time.push_back(times.data[i] - times.data[0]);
        }
    }
    const bool own_errors = errors.view.n_row > 1 && errors.view.n_col > 1;
    if (!own_errors && errors.view.n_row > 1) {
        double sum = 0.0;
        for (const std::size_t i : rows) {
            const double inverse = 1.0 / static_cast<double>(*errors(i, 0));
            shared.push_back(inverse * inverse);
            sum += shared.back();
        }
        for (double& w : shared) {
            w *= static_cast<double>(rows.size()) / sum;
        }
    }
    std::vector<std::size_t> complete, incomplete;
    for (std::size_t star = 0; star < n_star; ++star) {
        (own_errors || count[star] < rows.size() ? incomplete : complete).push_back(star);
    }
    add(complete, false, rows, flux, errors);
    add(incomplete, true, rows, flux, errors);
}

void BoxSearch::Impl::add(const std::vector<std::size_t>& stars, bool weighted, const std::vector<std::size_t>& rows,
                          View2<const float> flux, Errors errors) {
    const std::size_t n_time = rows.size();
    const auto flux_tile = detail::make_scratch<float>(n_time * width);
    const auto error_tile = detail::make_scratch<float>(n_time * width);
    for (std::size_t begin = 0; begin < stars.size(); begin += width) {
        Tile tile;
        tile.weighted = weighted;
        tile.n_star = std::min(width, stars.size() - begin);
        tile.series = detail::make_scratch<std::int32_t>(n_time * width * (weighted ? 2 : 1));
        std::copy_n(stars.begin() + static_cast<std::ptrdiff_t>(begin), tile.n_star, tile.column);
        for (std::size_t i = 0; i < n_time; ++i) {
            for (std::size_t s = 0; s < width; ++s) {
                const bool is_star = s < tile.n_star;
                const std::size_t column = tile.column[s];
                const float* error = is_star ? errors(rows[i], column) : nullptr;
                flux_tile[i * width + s] = is_star ? flux.data[rows[i] * flux.stride + column] : 0.0f;
                error_tile[i * width + s] = error == nullptr ? 1.0f : *error;
            }
        }
        detail::active().box_prepare({
            .flux = flux_tile.get(),
            .error = error_tile.get(),
            .shared = shared.empty() ? nullptr : shared.data(),
            .n_time = n_time,
            .weighted = weighted,
            .series = tile.series.get(),
            .star = tile.star,
        });
        for (std::size_t s = 0; s < tile.n_star; ++s) {
            weight[tile.column[s]] = tile.star[s].weight;
        }
        tiles.push_back(std::move(tile));
    }
}

BoxSearch::BoxSearch(View1<const double> time, View2<const float> flux, View2<const float> error) {
    require_rows(flux, "flux");
    require_size(time, flux.n_row, "time");
    if (time.size > std::size_t{1} << 28) {
        throw std::invalid_argument("time: " + std::to_string(time.size) + " are more than a fixed-point sum can hold");
    }
    for (std::size_t i = 0; i < time.size; ++i) {
        if (!std::isfinite(time.data[i]) || (i > 0 && time.data[i] <= time.data[i - 1])) {
            throw std::invalid_argument(at("time", i, time.data[i]) + ": expected finite times that increase");
        }
    }
    if (error.data != nullptr) {
        require_rows(error, "error");
        const bool fits = (error.n_row == flux.n_row && (error.n_col == flux.n_col || error.n_col == 1)) ||
                          (error.n_row == 1 && error.n_col == flux.n_col);
        if (!fits) {
            throw std::invalid_argument("error: " + std::to_string(error.n_row) + " x " + std::to_string(error.n_col) +
                                        " elements for " + std::to_string(flux.n_row) + " times and " +
                                        std::to_string(flux.n_col) + " series");
        }
        for (std::size_t i = 0; i < error.n_row; ++i) {
            for (std::size_t star = 0; star < error.n_col; ++star) {
                if (error.data[i * error.stride + star] <= 0.0f) {
                    throw std::invalid_argument(at("error", i, error.data[i * error.stride + star]) + " of series " +
                                                std::to_string(star) + ": expected more than 0, or NaN for missing");
                }
            }
        }
    }
    impl_ = std::make_unique<Impl>(time, flux, Errors{error});
}

BoxSearch::~BoxSearch() = default;
BoxSearch::BoxSearch(BoxSearch&&) noexcept = default;
BoxSearch& BoxSearch::operator=(BoxSearch&&) noexcept = default;

std::size_t BoxSearch::n_star() const {
    return impl_->n_star;
}

View1<const double> BoxSearch::weight() const {
    return {impl_->weight.data(), impl_->weight.size()};
}

namespace {

template <class T>
void require_result(const View2<T>& view, std::size_t n_period, std::size_t n_star, const char* name) {
    if (view.data == nullptr) {
        return;
    }
    require_rows(view, name);
    if (view.n_row != n_period || view.n_col != n_star) {
        throw std::invalid_argument(std::string(name) + ": " + std::to_string(view.n_row) + " x " +
                                    std::to_string(view.n_col) + " elements, expected " + std::to_string(n_period) +
                                    " periods x " + std::to_string(n_star) + " series");
    }
}

// Throws unless the trials fit together; returns the bins of the longest period.
std::size_t require_trials(const BoxTrials& trials) {
    const std::size_t n_period = trials.period.size, n_duration = trials.duration.size;
    require_size(trials.period, n_period, "period");
    require_size(trials.duration, n_duration, "duration");
    require_size(trials.first, n_period, "first");
    require_size(trials.last, n_period, "last");
    if (!(trials.bin_width > 0.0) || std::isinf(trials.bin_width)) {
        throw std::invalid_argument("bin_width=" + std::to_string(trials.bin_width) + ": expected more than 0");
    }
    for (std::size_t k = 0; k < n_duration; ++k) {
        if (trials.duration.data[k] < 1 || (k > 0 && trials.duration.data[k] < trials.duration.data[k - 1])) {
            throw std::invalid_argument(at("duration", k, trials.duration.data[k]) +
                                        ": expected 1 bin or more, shortest first");
        }
    }
    std::size_t most = 0;
    for (std::size_t p = 0; p < n_period; ++p) {
        const double period = trials.period.data[p], n_bin = std::ceil(period / trials.bin_width);
        if (!(period > 0.0) || !(n_bin <= static_cast<double>(max_box_bins))) {
            throw std::invalid_argument(at("period", p, period) + ": expected more than 0 and at most " +
                                        std::to_string(max_box_bins) + " bins");
        }
        if (trials.first.data[p] < 0 || trials.last.data[p] > static_cast<std::int64_t>(n_duration)) {
            throw std::invalid_argument(at("last", p, trials.last.data[p]) + ", " +
                                        at("first", p, trials.first.data[p]) + ": expected a range of the " +
                                        std::to_string(n_duration) + " durations");
        }
        most = std::max(most, static_cast<std::size_t>(n_bin));
    }
    return most;
}

// The plan of one period and the memory behind it.
struct Planned {
    std::size_t n_bin = 0;
    const std::int32_t* duration = nullptr;
    std::size_t n_duration = 0; // 0: nothing to try
    std::vector<std::uint32_t> row, begin;
    std::vector<double> weight;
    std::vector<float> root;
    detail::BoxPlan plan{};
};

// Results of one tile at one period.
struct TileResult {
    alignas(64) float power[width];
    alignas(64) float inverted[width];
    alignas(64) float depth[width];
    alignas(64) std::int32_t index[width];
    alignas(64) std::int32_t start[width];
};

template <class T>
void put(const View2<T>& out, std::size_t row, const Tile& tile, const T* values) {
    if (out.data != nullptr) {
        for (std::size_t s = 0; s < tile.n_star; ++s) {
            out.data[row * out.stride + tile.column[s]] = values[s];
        }
    }
}

} // namespace

void BoxSearch::run(const BoxTrials& trials, const BoxResult& out) const {
    const std::size_t n_bin_most = require_trials(trials), n_period = trials.period.size, n_star = impl_->n_star;
    require_result(out.power, n_period, n_star, "power");
    require_result(out.inverted, n_period, n_star, "inverted");
    require_result(out.depth, n_period, n_star, "depth");
    require_result(out.duration, n_period, n_star, "duration");
    require_result(out.start, n_period, n_star, "start");
    if (n_star == 0 || n_period == 0) {
        return;
    }
    const Impl& impl = *impl_;
    const detail::Kernels& kernels = detail::active();
    const bool details = out.depth.data != nullptr || out.duration.data != nullptr || out.start.data != nullptr;
    const bool inverted = out.inverted.data != nullptr;
    const bool likelihood = trials.objective == BoxObjective::likelihood;
    const bool common = !impl.tiles.empty() && !impl.tiles.front().weighted;
    const bool weighted = !impl.tiles.empty() && impl.tiles.back().weighted;
    const std::size_t n_time = impl.time.size();
    // A box never reaches beyond a second turn, so twice the bins hold whatever a period needs.
    const auto folded = detail::make_scratch<std::int32_t>((2 * n_bin_most + 1) * width * (weighted ? 2 : 1));
    std::vector<std::uint32_t> scratch(n_time);
    std::vector<Planned> plans(std::min(chunk, n_period));
    TileResult result;
    for (std::size_t begin = 0; begin < n_period; begin += chunk) {
        const std::size_t n = std::min(chunk, n_period - begin);
        for (std::size_t i = 0; i < n; ++i) {
            const std::size_t p = begin + i;
            Planned& planned = plans[i];
            planned.n_bin = static_cast<std::size_t>(std::ceil(trials.period.data[p] / trials.bin_width));
            const std::int32_t* const first = trials.duration.data + trials.first.data[p];
            const std::int32_t* const last = trials.duration.data + std::max(trials.first.data[p], trials.last.data[p]);
            planned.duration = first;
            planned.n_duration = static_cast<std::size_t>(
                std::lower_bound(first, last, static_cast<std::int64_t>(planned.n_bin)) - first);
            if (planned.n_duration == 0 || n_time == 0) {
                continue;
            }
            const auto longest = static_cast<std::size_t>(first[planned.n_duration - 1]);
            planned.row.resize(n_time);
            planned.begin.resize(planned.n_bin + 1);
            planned.weight.resize(planned.n_bin + longest + 1);
            planned.root.resize(planned.n_duration * planned.n_bin);
            planned.plan = {planned.row.data(), planned.begin.data(), planned.weight.data(), planned.root.data()};
            kernels.box_plan({
                .time = impl.time.data(),
                .n_time = n_time,
                .shared = impl.shared.empty() ? nullptr : impl.shared.data(),
                .period = trials.period.data[p],
                .bin_width = trials.bin_width,
                .n_bin = planned.n_bin,
                .duration = planned.duration,
                .n_duration = planned.n_duration,
                .likelihood = likelihood,
                .weights = common,
                .plan = planned.plan,
                .scratch = scratch.data(),
            });
        }
        for (const Tile& tile : impl.tiles) {
            for (std::size_t i = 0; i < n; ++i) {
                const Planned& planned = plans[i];
                if (planned.n_duration == 0 || n_time == 0) {
                    std::fill_n(result.power, width, std::numeric_limits<float>::quiet_NaN());
                    std::copy_n(result.power, width, result.inverted);
                    std::copy_n(result.power, width, result.depth);
                    std::fill_n(result.index, width, -1);
                    std::fill_n(result.start, width, -1);
                } else {
                    kernels.box_tile({
                        .series = tile.series.get(),
                        .star = tile.star,
                        .weighted = tile.weighted,
                        .likelihood = likelihood,
                        .n_bin = planned.n_bin,
                        .duration = planned.duration,
                        .n_duration = planned.n_duration,
                        .plan = planned.plan,
                        .folded = folded.get(),
                        .power = result.power,
                        .inverted = inverted ? result.inverted : nullptr,
                        .depth = details ? result.depth : nullptr,
                        .index = details ? result.index : nullptr,
                        .start = details ? result.start : nullptr,
                    });
                    const std::int32_t shift = trials.first.data[begin + i];
                    for (std::int32_t& index : result.index) {
                        index += details && index >= 0 ? shift : 0;
                    }
                }
                put(out.power, begin + i, tile, result.power);
                put(out.inverted, begin + i, tile, result.inverted);
                put(out.depth, begin + i, tile, result.depth);
                put(out.duration, begin + i, tile, result.index);
                put(out.start, begin + i, tile, result.start);
            }
        }
    }
}

} // namespace starskope
