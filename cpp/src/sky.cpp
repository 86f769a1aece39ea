#include "starskope/sky.hpp"

#include <algorithm>
#include <cmath>

#include "dispatch.hpp"
#include "surface_check.hpp"

namespace starskope {
namespace {

// The longest of the steps between edges.
std::size_t check_edges(View1<const std::int64_t> edges, std::size_t n, std::size_t size, const char* name) {
    if (edges.size == 0) { // also where n + 1 is none
        throw std::invalid_argument(std::string(name) + ": no edges, expected one more than boxes");
    }
    require_size(edges, n + 1, name);
    std::int64_t before = 0, longest = 0;
    for (std::size_t i = 0; i <= n; ++i) {
        const std::int64_t edge = edges.data[i];
        if (edge < before || std::uint64_t(edge) > size) {
            throw std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "]=" + std::to_string(edge) +
                                        ": expected edges that do not fall, from 0 to " + std::to_string(size));
        }
        longest = i > 0 ? std::max(longest, edge - before) : 0;
        before = edge;
    }
    return std::size_t(longest);
}

void check_sigma(double sigma) {
    if (!(sigma > 0.0)) {
        throw std::invalid_argument("sigma=" + std::to_string(sigma) + ": expected a number above 0");
    }
}

} // namespace

void box_medians(View2<const float> image, View1<const std::int64_t> rows, View1<const std::int64_t> columns,
                 const Surface& surface, double sigma, View2<float> median, View2<std::int32_t> count) {
    require_rows(image, "image");
    require_rows(median, "median");
    require_rows(count, "count");
    check_sigma(sigma);
    if (median.n_row != count.n_row || median.n_col != count.n_col || median.stride != median.n_col ||
        count.stride != count.n_col) {
        throw std::invalid_argument("median, count: expected one shape and rows without gaps");
    }
    const std::size_t height = check_edges(rows, median.n_row, image.n_row, "rows");
    const std::size_t width = check_edges(columns, median.n_col, image.n_col, "columns");
    const detail::SurfaceRows lines =
        surface.line.data == nullptr ? detail::SurfaceRows{} : detail::checked(surface, image.n_row, image.n_col);
    const detail::Kernels& kernels = detail::active();
    const auto scratch = detail::make_scratch<float>(kernels.sky_scratch(height * width));
    kernels.box_medians({
        .image = image.data,
        .row_stride = image.stride,
        .row_edge = rows.data,
        .column_edge = columns.data,
        .n = median.n_row,
        .m = median.n_col,
        .surface = lines,
        .sigma = sigma,
        .median = median.data,
        .count = count.data,
        .scratch = scratch.get(),
    });
}

void ring_medians(View2<const float> image, View1<const std::int64_t> row, View1<const std::int64_t> column,
                  double inner, double outer, double sigma, View1<float> median, View1<std::int32_t> count) {
    require_rows(image, "image");
    const std::size_t n_star = row.size;
    require_size(row, n_star, "row");
    require_size(column, n_star, "column");
    require_size(median, n_star, "median");
    require_size(count, n_star, "count");
    check_sigma(sigma);
    if (!(inner >= 0.0 && inner < outer && outer <= max_ring_radius)) {
        throw std::invalid_argument("inner=" + std::to_string(inner) + ", outer=" + std::to_string(outer) +
                                    ": expected 0 <= inner < outer <= " + std::to_string(max_ring_radius));
    }
    constexpr std::int64_t farthest = std::int64_t{1} << 30;
    for (std::size_t star = 0; star < n_star; ++star) {
        for (const std::int64_t place : {row.data[star], column.data[star]}) {
            if (place < -farthest || place > farthest) {
                throw std::invalid_argument("row, column: star " + std::to_string(star) + " lies at " +
                                            std::to_string(place) + ", expected a place within 2^30 pixels");
            }
        }
    }
    const auto reach = static_cast<std::int64_t>(std::ceil(outer));
    const auto side = static_cast<std::size_t>(2 * reach + 1);
    const detail::Kernels& kernels = detail::active();
    const auto shape = detail::make_scratch<std::int32_t>(2 * side);
    const auto scratch = detail::make_scratch<float>(kernels.sky_scratch(side * side));
    kernels.ring_medians({
        .image = image.data,
        .n_row = image.n_row,
        .n_col = image.n_col,
        .row_stride = image.stride,
        .row = row.data,
        .column = column.data,
        .n_star = n_star,
        .inner = inner,
        .outer = outer,
        .reach = reach,
        .sigma = sigma,
        .median = median.data,
        .count = count.data,
        .shape = shape.get(),
        .scratch = scratch.get(),
    });
}

void subtract_surface(View2<const float> image, const Surface& surface, View2<float> out) {
    require_rows(out, "out");
    if (image.data != nullptr) {
        require_rows(image, "image");
        if (image.n_row != out.n_row || image.n_col != out.n_col) {
            throw std::invalid_argument("image: expected the shape of out");
        }
    }
    const detail::SurfaceRows lines = detail::checked(surface, out.n_row, out.n_col);
    if (out.n_row == 0 || out.n_col == 0) {
        return; // rows without pixels may be nowhere
    }
    detail::active().subtract_surface({
        .image = image.data,
        .n_row = out.n_row,
        .n_col = out.n_col,
        .row_stride = image.stride,
        .surface = lines,
        .out = out.data,
        .out_stride = out.stride,
    });
}

void surface_lines(View2<const float> knot, View1<const std::int64_t> start, View2<const float> weight,
                   View2<float> line) {
    require_rows(line, "line");
    if (knot.n_row != line.n_row) {
        throw std::invalid_argument("knot: has " + std::to_string(knot.n_row) + " rows, expected " +
                                    std::to_string(line.n_row));
    }
    // A column takes neighbouring knots as a row of a surface takes neighbouring lines.
    require_rows(knot, "knot");
    detail::check_taps(start, weight, line.n_col, knot.n_col);
    if (line.n_row == 0 || line.n_col == 0) {
        return;
    }
    detail::active().surface_lines({
        .knot = knot.data,
        .knot_stride = knot.stride,
        .start = start.data,
        .weight = weight.data,
        .weight_stride = weight.stride,
        .n_tap = weight.n_row,
        .n_line = line.n_row,
        .n_col = line.n_col,
        .line = line.data,
        .line_stride = line.stride,
    });
}

void surface_values(const Surface& surface, View1<const double> row, View1<const double> column, View1<double> value) {
    const std::size_t n_star = row.size, n_row = surface.start.size;
    require_size(row, n_star, "row");
    require_size(column, n_star, "column");
    require_size(value, n_star, "value");
    const detail::SurfaceRows lines = detail::checked(surface, n_row, surface.line.n_col);
    detail::active().surface_values({
        .surface = lines,
        .n_row = n_row,
        .n_col = surface.line.n_col,
        .row = row.data,
        .column = column.data,
        .n_star = n_star,
        .value = value.data,
    });
}

} // namespace starskope
