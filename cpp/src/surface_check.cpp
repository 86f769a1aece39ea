#include "surface_check.hpp"

#include <stdexcept>
#include <string>

namespace starskope::detail {

void check_taps(View1<const std::int64_t> start, View2<const float> weight, std::size_t n, std::size_t n_of) {
    require_rows(weight, "weight");
    require_size(start, n, "start");
    const std::size_t n_tap = weight.n_row;
    if (n_tap < 1 || n_tap > 4 || weight.n_col != n) {
        throw std::invalid_argument("weight: has shape (" + std::to_string(n_tap) + ", " +
                                    std::to_string(weight.n_col) + "), expected 1 to 4 rows of " + std::to_string(n));
    }
    for (std::size_t i = 0; i < n; ++i) {
        const std::int64_t first = start.data[i];
        if (first < 0 || std::uint64_t(first) + n_tap > n_of) {
            throw std::invalid_argument("start[" + std::to_string(i) + "]=" + std::to_string(first) + ": expected " +
                                        std::to_string(n_tap) + " neighbours from there on, of " +
                                        std::to_string(n_of));
        }
    }
}

SurfaceRows checked(const Surface& surface, std::size_t n_row, std::size_t n_col) {
    require_rows(surface.line, "line");
    check_taps(surface.start, surface.weight, n_row, surface.line.n_row);
    if (surface.line.n_col != n_col) {
        throw std::invalid_argument("line: has " + std::to_string(surface.line.n_col) + " columns, expected " +
                                    std::to_string(n_col));
    }
    return {.line = surface.line.data,
            .line_stride = surface.line.stride,
            .start = surface.start.data,
            .weight = surface.weight.data,
            .weight_stride = surface.weight.stride,
            .n_tap = surface.weight.n_row};
}

} // namespace starskope::detail
