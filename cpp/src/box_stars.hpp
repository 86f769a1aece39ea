// Stars of the box search as its kernels want them. Private to the entry points.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "starskope/box.hpp"

namespace starskope {

// "name[i]=value"
template <class T>
std::string element(const char* name, std::size_t i, T value) {
    return std::string(name) + "[" + std::to_string(i) + "]=" + std::to_string(value);
}

// Throws std::invalid_argument on sizes that differ, times that do not increase, errors that are not above 0.
void require_stars(View1<const double> time, View2<const float> flux, View2<const float> error);

// Stars whose weights are of one kind.
struct BoxTile {
    detail::BoxWeights weights = detail::box_weights_common;
    std::size_t n_star = 0;
    std::size_t column[detail::box_tile_series] = {}; // of the star in the caller's arrays
    detail::BoxStar star[detail::box_tile_series] = {};
    std::unique_ptr<std::int32_t[], detail::AlignedDelete> series;
    std::unique_ptr<std::uint8_t[], detail::AlignedDelete> counted;
};

// Which weights a tile's stars are given: the cheapest that serve, or integers per point for every star.
enum class BoxWeighing { cheapest, own };

struct BoxStars {
    std::size_t n_star = 0;
    std::vector<double> time;   // of the rows that any star has, since the first time of all
    std::vector<double> shared; // weights of these rows, mean 1; empty: all alike
    std::vector<double> weight; // sum of error^-2 of each star
    std::vector<BoxTile> tiles; // those with common weights first

    // Inputs are checked already.
    BoxStars(View1<const double> times, View2<const float> flux, View2<const float> error,
             BoxWeighing weighing = BoxWeighing::cheapest);
};

} // namespace starskope
