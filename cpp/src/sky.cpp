#include "starskope/sky.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

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

// Half the width of a disc `dy` rows from its centre: columns with a distance below `radius`, -1 for none.
std::int64_t half_width(double radius, std::int64_t dy, std::int64_t reach) {
    std::int64_t dx = -1;
    while (dx < reach && std::sqrt(double(dy * dy + (dx + 1) * (dx + 1))) < radius) {
        ++dx;
    }
    return dx;
}

// The pixels of a ring around the origin, from top to bottom.
detail::Ring lay_out(double inner, double outer, std::vector<detail::RingRun>& runs) {
    constexpr auto longest = std::int64_t(detail::longest_ring_run);
    const auto reach = static_cast<std::int64_t>(std::ceil(outer));
    detail::Ring ring{runs.size(), runs.size(), reach};
    const auto add = [&](std::int64_t dy, std::int64_t first, std::int64_t last) {
        for (std::int64_t dx = first; dx <= last; dx += longest) {
            const auto n = std::min(last - dx + 1, longest);
            runs.push_back({std::int32_t(dy), std::int32_t(dx), std::int32_t(n)});
        }
    };
    for (std::int64_t dy = -reach; dy <= reach; ++dy) {
        const std::int64_t to = half_width(outer, dy, reach), from = half_width(inner, dy, reach);
        if (to >= 0 && from < 0) {
            add(dy, -to, to);
        } else if (to >= 0) {
            add(dy, -to, -from - 1);
            add(dy, from + 1, to);
        }
    }
    ring.last_run = runs.size();
    return ring;
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
                  View1<const double> inner, double width, double sigma, View1<float> median,
                  View1<std::int32_t> count) {
    require_rows(image, "image");
    const std::size_t n_star = row.size;
    require_size(row, n_star, "row");
    require_size(column, n_star, "column");
    require_size(inner, n_star, "inner");
    require_size(median, n_star, "median");
    require_size(count, n_star, "count");
    check_sigma(sigma);
    constexpr std::int64_t farthest = std::int64_t{1} << 30;
    for (std::size_t star = 0; star < n_star; ++star) {
        for (const std::int64_t place : {row.data[star], column.data[star]}) {
            if (place < -farthest || place > farthest) {
                throw std::invalid_argument("row, column: star " + std::to_string(star) + " lies at " +
                                            std::to_string(place) + ", expected a place within 2^30 pixels");
            }
        }
        const double radius = inner.data[star];
        if (!(radius >= 0.0 && width > 0.0 && radius + width <= max_ring_radius)) {
            throw std::invalid_argument("inner[" + std::to_string(star) + "]=" + std::to_string(radius) +
                                        ", width=" + std::to_string(width) +
                                        ": expected 0 <= inner < inner + width <= " + std::to_string(max_ring_radius));
        }
    }
    if (n_star == 0) {
        return;
    }
    std::vector<double> radii(inner.data, inner.data + n_star);
    std::sort(radii.begin(), radii.end());
    radii.erase(std::unique(radii.begin(), radii.end()), radii.end());
    std::vector<std::uint32_t> ring_of(n_star);
    for (std::size_t star = 0; star < n_star; ++star) {
        ring_of[star] = std::uint32_t(std::lower_bound(radii.begin(), radii.end(), inner.data[star]) - radii.begin());
    }
    const detail::Kernels& kernels = detail::active();
    std::vector<detail::RingRun> runs;
    std::vector<detail::Ring> rings;
    for (const double radius : radii) {
        rings.push_back(lay_out(radius, radius + width, runs));
    }
    const auto side = static_cast<std::size_t>(2 * rings.back().reach + 1);
    const auto scratch = detail::make_scratch<float>(kernels.sky_scratch(side * side + detail::longest_ring_run));
    kernels.ring_medians({
        .image = image.data,
        .n_row = image.n_row,
        .n_col = image.n_col,
        .row_stride = image.stride,
        .row = row.data,
        .column = column.data,
        .n_star = n_star,
        .ring = rings.data(),
        .ring_of = ring_of.data(),
        .run = runs.data(),
        .sigma = sigma,
        .median = median.data,
        .count = count.data,
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
