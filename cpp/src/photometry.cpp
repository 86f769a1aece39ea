#include "starskope/photometry.hpp"

#include <algorithm>
#include <cmath>

#include "dispatch.hpp"
#include "surface_check.hpp"

namespace starskope {

void aperture_sums(View2<const float> image, View1<const double> row, View1<const double> column,
                   View1<const double> radius, View1<double> total, View1<double> area, View1<std::int32_t> n_bad,
                   const Surface& surface) {
    require_rows(image, "image");
    const std::size_t n_star = row.size;
    require_size(row, n_star, "row");
    require_size(column, n_star, "column");
    require_size(radius, n_star, "radius");
    require_size(total, n_star, "total");
    require_size(area, n_star, "area");
    require_size(n_bad, n_star, "n_bad");
    const detail::SurfaceRows lines =
        surface.line.data == nullptr ? detail::SurfaceRows{} : detail::checked(surface, image.n_row, image.n_col);
    double largest = 0.0;
    for (std::size_t star = 0; star < n_star; ++star) {
        const double r = radius.data[star];
        if (std::isnan(r)) {
            continue;
        }
        if (!(r > 0.0 && r <= max_aperture_radius)) {
            throw std::invalid_argument("radius[" + std::to_string(star) + "]=" + std::to_string(r) +
                                        ": expected more than 0 and at most " + std::to_string(max_aperture_radius) +
                                        " pixels, or NaN for no aperture");
        }
        largest = std::max(largest, r);
    }
    if (n_star == 0) {
        return;
    }
    const detail::Kernels& kernels = detail::active();
    const auto scratch = detail::make_scratch<double>(kernels.aperture_scratch(largest));
    kernels.aperture_sums({
        .image = image.data,
        .n_row = image.n_row,
        .n_col = image.n_col,
        .row_stride = image.stride,
        .row = row.data,
        .column = column.data,
        .radius = radius.data,
        .n_star = n_star,
        .total = total.data,
        .area = area.data,
        .n_bad = n_bad.data,
        .surface = lines,
        .scratch = scratch.get(),
    });
}

} // namespace starskope
