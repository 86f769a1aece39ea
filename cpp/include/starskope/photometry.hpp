// Aperture sums on one image.
#pragma once

#include <cstdint>

#include "starskope/sky.hpp"
#include "starskope/view.hpp"

namespace starskope {

// Sums of an image over circles, each pixel weighted by the exact area that the circle covers of it.
//
// image   (n_row, n_col)  pixel (i, j) covers rows i-0.5..i+0.5 and columns j-0.5..j+0.5; NaN = missing
// row     (n_star,)       centre, pixels; NaN = star is nowhere
// column  (n_star,)
// radius  (n_star,)       pixels, 0 < radius <= max_aperture_radius; NaN = no aperture
// total   (n_star,)       written: sum of pixel * overlap over finite pixels on the image; NaN where area is 0
// area    (n_star,)       written: sum of those overlaps, square pixels
// n_bad   (n_star,)       written: pixels that the circle touches which are not finite or off the image
// surface (n_row, n_col)  subtracted first, to float32, or none: only pixels under circles are looked at
//
// Outputs must not overlap inputs. Throws std::invalid_argument on sizes that differ, a radius out of range or a
// surface that does not fit.
void aperture_sums(View2<const float> image, View1<const double> row, View1<const double> column,
                   View1<const double> radius, View1<double> total, View1<double> area, View1<std::int32_t> n_bad,
                   const Surface& surface = {});

inline constexpr double max_aperture_radius = 4096.0;

} // namespace starskope
