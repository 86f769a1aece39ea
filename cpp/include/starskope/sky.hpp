// Levels of the sky under stars: clipped medians of boxes and rings, and a smooth surface through them.
#pragma once

#include <cstdint>

#include "starskope/view.hpp"

namespace starskope {

// A surface of which row r is the sum over k of weight(k, r) times line start(r) + k: a tensor-product spline, or any
// other surface of which few lines tell a row. Without lines there is no surface.
//
// line    (n_line, n_col)
// start   (n_row,)        0 <= start(r), start(r) + n_tap <= n_line
// weight  (n_tap, n_row)  1 to 4 taps
struct Surface {
    View2<const float> line;
    View1<const std::int64_t> start;
    View2<const float> weight;
};

// Median of the finite pixels of each box after clipping at `sigma` standard deviations around the median until nothing
// changes. Standard deviations are right to 1e-7.
//
// image    (n_row, n_col)  NaN and infinities = missing
// rows     (n + 1,)        where boxes begin and end: not falling, within 0..n_row
// columns  (m + 1,)        the same within 0..n_col
// surface  (n_row, n_col)  subtracted first, or none
// median   (n, m)          written, contiguous rows without gaps; NaN where no pixel is
// count    (n, m)          written: pixels that survived
void box_medians(View2<const float> image, View1<const std::int64_t> rows, View1<const std::int64_t> columns,
                 const Surface& surface, double sigma, View2<float> median, View2<std::int32_t> count);

// The same of the pixels around each star with inner <= distance < inner + width. Fastest where neighbours follow each
// other; few distinct radii need little memory.
//
// image   (n_row, n_col)
// row     (n_star,)  the pixel that the ring lies around; may be off the image, by at most 2^30
// column  (n_star,)
// inner   (n_star,)  0 or more
// width              above 0; inner + width <= max_ring_radius
// median  (n_star,)  written; NaN where no pixel is
// count   (n_star,)  written
void ring_medians(View2<const float> image, View1<const std::int64_t> row, View1<const std::int64_t> column,
                  View1<const double> inner, double width, double sigma, View1<float> median,
                  View1<std::int32_t> count);

inline constexpr double max_ring_radius = 4096.0;

// image - surface, float32.
//
// image  (n_row, n_col)  or a null view for the surface itself
// out    (n_row, n_col)  written; may be the image, must not overlap it otherwise
void subtract_surface(View2<const float> image, const Surface& surface, View2<float> out);

// The lines of a tensor product from its knots: line (i, j) is the sum over k of weight (k, j) times knot
// (i, start(j) + k), float32.
//
// knot    (n_line, n_knot)
// start   (n_col,)        0 <= start(j), start(j) + n_tap <= n_knot
// weight  (n_tap, n_col)  1 to 4 taps
// line    (n_line, n_col) written; must not overlap the others
void surface_lines(View2<const float> knot, View1<const std::int64_t> start, View2<const float> weight,
                   View2<float> line);

// The surface at the pixels nearest to places.
//
// row     (n_star,)  NaN = nowhere
// column  (n_star,)
// value   (n_star,)  written: of a float32 evaluation; NaN off the surface, which is (surface.start.size,
//                    surface.line.n_col)
void surface_values(const Surface& surface, View1<const double> row, View1<const double> column, View1<double> value);

} // namespace starskope
