// Trial periods of the box search, checked and planned. Private to the entry points.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "box_stars.hpp"

namespace starskope {

// "name[i]=value"
template <class T>
std::string element(const char* name, std::size_t i, T value) {
    return std::string(name) + "[" + std::to_string(i) + "]=" + std::to_string(value);
}

// Throws std::invalid_argument unless the trials fit together.
void require_trials(const BoxTrials& trials);

// The plan of one period and the memory behind it.
struct BoxPlanned {
    std::size_t n_bin = 0;
    std::int32_t first = 0;
    std::vector<std::int32_t> duration; // bins; empty: nothing to try
    std::vector<std::uint32_t> row, begin;
    std::vector<double> weight;
    std::vector<float> root;
    detail::BoxPlan plan{};

    std::size_t n_row() const { return n_bin + static_cast<std::size_t>(duration.back()) + 1; }

    void make(const BoxTrials& trials, std::size_t p, const BoxStars& stars, std::uint32_t* scratch);
};

} // namespace starskope
