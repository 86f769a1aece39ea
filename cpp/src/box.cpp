#include "starskope/box.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "box_stars.hpp"
#include "box_trials.hpp"

namespace starskope {
namespace {

constexpr std::size_t width = detail::box_tile_series;
// Periods planned together. A tile of stars stays in cache while it is searched at all of them.
constexpr std::size_t chunk = 16;

// Results of one tile at one period.
struct TileResult {
    alignas(64) float power[width];
    alignas(64) float inverted[width];
    alignas(64) float depth[width];
    alignas(64) std::int32_t index[width];
    alignas(64) std::int32_t start[width];

    void clear() {
        for (float* const values : {power, inverted, depth}) {
            std::fill_n(values, width, std::numeric_limits<float>::quiet_NaN());
        }
        std::fill_n(index, width, -1);
        std::fill_n(start, width, -1);
    }
};

template <class T>
void put(const View2<T>& out, std::size_t row, const BoxTile& tile, const T* values) {
    if (out.data == nullptr) {
        return;
    }
    T* const to = out.data + row * out.stride;
    if (tile.column[tile.n_star - 1] - tile.column[0] == tile.n_star - 1) {
        std::copy_n(values, tile.n_star, to + tile.column[0]);
        return;
    }
    for (std::size_t s = 0; s < tile.n_star; ++s) {
        to[tile.column[s]] = values[s];
    }
}

} // namespace

BoxSearch::BoxSearch(View1<const double> time, View2<const float> flux, View2<const float> error) {
    require_stars(time, flux, error);
    stars_ = std::make_unique<const BoxStars>(time, flux, error);
}

BoxSearch::~BoxSearch() = default;
BoxSearch::BoxSearch(BoxSearch&&) noexcept = default;
BoxSearch& BoxSearch::operator=(BoxSearch&&) noexcept = default;

std::size_t BoxSearch::n_star() const {
    return stars_->n_star;
}

View1<const double> BoxSearch::weight() const {
    return {stars_->weight.data(), stars_->weight.size()};
}

void BoxSearch::run(const BoxTrials& trials, const BoxResult& out) const {
    require_trials(trials);
    const std::size_t n_period = trials.period.size;
    require_result(out.power, n_period, n_star(), "power");
    require_result(out.inverted, n_period, n_star(), "inverted");
    require_result(out.depth, n_period, n_star(), "depth");
    require_result(out.duration, n_period, n_star(), "duration");
    require_result(out.start, n_period, n_star(), "start");
    const BoxStars& stars = *stars_;
    const bool details = out.depth.data != nullptr || out.duration.data != nullptr || out.start.data != nullptr;
    const bool inverted = out.inverted.data != nullptr;
    std::vector<std::uint32_t> scratch(stars.time.size());
    std::vector<BoxPlanned> plans(std::min(chunk, n_period));
    std::unique_ptr<std::int32_t[], detail::AlignedDelete> folded;
    std::size_t n_folded = 0;
    TileResult result;
    for (std::size_t begin = 0; begin < n_period; begin += chunk) {
        const std::size_t n = std::min(chunk, n_period - begin);
        for (std::size_t i = 0; i < n; ++i) {
            plans[i].make(trials, begin + i, stars, scratch.data());
            if (!plans[i].duration.empty() && plans[i].n_row() > n_folded) {
                n_folded = plans[i].n_row();
                folded = detail::make_scratch<std::int32_t>(n_folded * 2 * width);
            }
        }
        for (const BoxTile& tile : stars.tiles) {
            for (std::size_t i = 0; i < n; ++i) {
                const BoxPlanned& planned = plans[i];
                result.clear();
                if (!planned.duration.empty()) {
                    detail::active().box_tile({
                        .series = tile.series.get(),
                        .counted = tile.counted.get(),
                        .star = tile.star,
                        .weights = tile.weights,
                        .likelihood = trials.objective == BoxObjective::likelihood,
                        .n_bin = planned.n_bin,
                        .duration = planned.duration.data(),
                        .n_duration = planned.duration.size(),
                        .plan = planned.plan,
                        .folded = folded.get(),
                        .power = result.power,
                        .inverted = inverted ? result.inverted : nullptr,
                        .depth = details ? result.depth : nullptr,
                        .index = details ? result.index : nullptr,
                        .start = details ? result.start : nullptr,
                    });
                    for (std::int32_t& index : result.index) {
                        index += index < 0 ? 0 : planned.first;
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
