// Trial periods of the box search, checked and planned. Private to the entry points.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "box_stars.hpp"

namespace starskope {

// Throws std::invalid_argument unless the trials fit together.
void require_trials(const BoxTrials& trials);

// Throws std::invalid_argument unless a result that is wanted is (n_period, n_star).
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
