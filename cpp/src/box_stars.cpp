#include "box_stars.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

namespace starskope {
namespace {

constexpr std::size_t width = detail::box_tile_series;

// One error per element of the flux, however few there are.
struct Errors {
    View2<const float> view;

    float operator()(std::size_t i, std::size_t star) const {
        return view.data == nullptr ? 1.0f
                                    : view.data[(view.n_row == 1 ? 0 : i * view.stride) + (view.n_col == 1 ? 0 : star)];
    }
};

double inverse_variance(float error) {
    const double inverse = 1.0 / static_cast<double>(error);
    return inverse * inverse;
}

bool usable(float flux, float error) {
    const double weight = inverse_variance(error);
    return std::isfinite(flux) && weight > 0.0 && std::isfinite(weight);
}

// Copies columns of the flux and their errors, `width` at a time, into tiles.
struct Tiler {
    View2<const float> flux;
    Errors errors;
    const std::vector<std::size_t>& rows;
    const double* shared;
    std::unique_ptr<float[], detail::AlignedDelete> flux_tile = detail::make_scratch<float>(rows.size() * width);
    std::unique_ptr<float[], detail::AlignedDelete> error_tile = detail::make_scratch<float>(rows.size() * width);

    BoxTile make(const std::size_t* stars, std::size_t n_star, detail::BoxWeights weights) {
        const std::size_t n_time = rows.size();
        BoxTile tile;
        tile.weights = weights;
        tile.n_star = n_star;
        tile.series = detail::make_scratch<std::int32_t>(n_time * width * (weights == detail::box_weights_own ? 2 : 1));
        tile.counted = detail::make_scratch<std::uint8_t>(weights == detail::box_weights_counted ? n_time * width : 0);
        std::copy_n(stars, n_star, tile.column);
        for (std::size_t i = 0; i < n_time; ++i) {
            for (std::size_t s = 0; s < width; ++s) {
                flux_tile[i * width + s] = s < n_star ? flux.data[rows[i] * flux.stride + stars[s]] : 0.0f;
                error_tile[i * width + s] = s < n_star ? errors(rows[i], stars[s]) : 1.0f;
            }
        }
        detail::active().box_prepare({
            .flux = flux_tile.get(),
            .error = error_tile.get(),
            .shared = shared,
            .n_time = n_time,
            .weights = weights,
            .series = tile.series.get(),
            .counted = tile.counted.get(),
            .star = tile.star,
        });
        return tile;
    }
};

void require_times(View1<const double> time) {
    if (time.size > std::size_t{1} << 28) {
        throw std::invalid_argument("time: " + std::to_string(time.size) + " are more than a fixed-point sum can hold");
    }
    for (std::size_t i = 0; i < time.size; ++i) {
        if (!std::isfinite(time.data[i]) || (i > 0 && time.data[i] <= time.data[i - 1])) {
            throw std::invalid_argument(element("time", i, time.data[i]) + ": expected finite times that increase");
        }
    }
}

void require_errors(View2<const float> error, View2<const float> flux) {
    if (error.data == nullptr) {
        return;
    }
    require_rows(error, "error");
    const bool over_time = error.n_row == flux.n_row && (error.n_col == flux.n_col || error.n_col == 1);
    if (!over_time && !(error.n_row == 1 && error.n_col == flux.n_col)) {
        throw std::invalid_argument("error: " + std::to_string(error.n_row) + " x " + std::to_string(error.n_col) +
                                    " elements for " + std::to_string(flux.n_row) + " times and " +
                                    std::to_string(flux.n_col) + " series");
    }
    for (std::size_t i = 0; i < error.n_row; ++i) {
        for (std::size_t star = 0; star < error.n_col; ++star) {
            if (error.data[i * error.stride + star] <= 0.0f) {
                throw std::invalid_argument(element("error", i, error.data[i * error.stride + star]) + " of series " +
                                            std::to_string(star) + ": expected more than 0, or NaN for missing");
            }
        }
    }
}

} // namespace

void require_stars(View1<const double> time, View2<const float> flux, View2<const float> error) {
    require_rows(flux, "flux");
    require_size(time, flux.n_row, "time");
    constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
    if (flux.n_row > most || flux.n_col > most) {
        throw std::invalid_argument("flux is " + std::to_string(flux.n_row) + " x " + std::to_string(flux.n_col) +
                                    ": expected at most " + std::to_string(most) + " points and stars");
    }
    require_times(time);
    require_errors(error, flux);
}

BoxStars::BoxStars(View1<const double> times, View2<const float> flux, View2<const float> error, BoxWeighing weighing)
    : n_star(flux.n_col), weight(flux.n_col) {
    const Errors errors{error};
    std::vector<std::size_t> count(n_star, 0), rows;
    for (std::size_t i = 0; i < flux.n_row; ++i) {
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
    const bool own = weighing == BoxWeighing::own;
    const bool over_time = own || (error.data != nullptr && error.n_row > 1);
    const bool per_point = own || (over_time && error.n_col > 1);
    if (over_time && !per_point && !rows.empty()) {
        double sum = 0.0;
        for (const std::size_t i : rows) {
            shared.push_back(inverse_variance(errors(i, 0)));
            sum += shared.back();
        }
        for (double& w : shared) {
            w *= static_cast<double>(rows.size()) / sum;
        }
    }
    std::vector<std::size_t> alike, apart;
    for (std::size_t star = 0; star < n_star; ++star) {
        (per_point || count[star] < rows.size() ? apart : alike).push_back(star);
    }
    Tiler tiler{flux, errors, rows, shared.empty() ? nullptr : shared.data()};
    const auto add = [&](const std::vector<std::size_t>& stars, detail::BoxWeights weights) {
        for (std::size_t begin = 0; begin < stars.size(); begin += width) {
            tiles.push_back(tiler.make(stars.data() + begin, std::min(width, stars.size() - begin), weights));
        }
    };
    add(alike, detail::box_weights_common);
    add(apart, over_time ? detail::box_weights_own : detail::box_weights_counted);
    for (const BoxTile& tile : tiles) {
        for (std::size_t s = 0; s < tile.n_star; ++s) {
            weight[tile.column[s]] = tile.star[s].weight;
        }
    }
}

} // namespace starskope
