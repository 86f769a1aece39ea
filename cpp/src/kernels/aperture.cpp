// Overlap of a circle with a grid of pixels, exactly.
//
// Let C(x, y) be the area of the part of the circle with X < x and Y < y. A pixel's overlap is the second difference of C
// over its corners. With H(t), the area with X < t, C is a choice between terms of one variable each:
//   corner inside the circle    x y + (H(x) + H(y)) / 2 - pi r^2 / 4
//   outside, x > 0 and y > 0    H(x) + H(y) - pi r^2
//   outside, x < 0 and y < 0    0
//   outside, signs differ       H of the negative one
// so the square roots and arc sines are needed once per grid line, not once per corner.
#include "variant.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

static constexpr double pi = 3.14159265358979323846;

static double half_area(double t, double r) {
    if (t >= r) {
        return pi * r * r;
    }
    if (t <= -r) {
        return 0.0;
    }
    return t * __builtin_sqrt(r * r - t * t) + r * r * (__builtin_asin(t / r) + 0.5 * pi);
}

static double corner(double x, double y, double hx, double hy, double r) {
    if (x * x + y * y < r * r) {
        return x * y + 0.5 * (hx + hy) - 0.25 * pi * r * r;
    }
    if (x > 0) {
        return y > 0 ? hx + hy - pi * r * r : hy;
    }
    return y > 0 ? hx : 0.0;
}

size_t aperture_scratch(double) { return 1; }

void aperture_sums(const ApertureJob& job) {
    for (size_t star = 0; star < job.n_star; ++star) {
        const double r = job.radius[star], cy = job.row[star], cx = job.column[star];
        double total = 0, area = 0;
        int32_t n_bad = 0;
        if (r > 0 && cy - cy == 0 && cx - cx == 0 && __builtin_fabs(cy) < 1e9 && __builtin_fabs(cx) < 1e9) {
            const long row0 = long(__builtin_floor(cy - r + 0.5)), row1 = long(__builtin_floor(cy + r + 0.5));
            const long col0 = long(__builtin_floor(cx - r + 0.5)), col1 = long(__builtin_floor(cx + r + 0.5));
            for (long i = row0; i <= row1; ++i) {
                for (long j = col0; j <= col1; ++j) {
                    const double y0 = double(i) - 0.5 - cy, x0 = double(j) - 0.5 - cx, y1 = y0 + 1, x1 = x0 + 1;
                    const double ny = y0 > 0 ? y0 : (y1 < 0 ? -y1 : 0), nx = x0 > 0 ? x0 : (x1 < 0 ? -x1 : 0);
                    if (nx * nx + ny * ny >= r * r) {
                        continue;
                    }
                    const double hx0 = half_area(x0, r), hx1 = half_area(x1, r);
                    const double hy0 = half_area(y0, r), hy1 = half_area(y1, r);
                    double w = corner(x1, y1, hx1, hy1, r) - corner(x0, y1, hx0, hy1, r) -
                               corner(x1, y0, hx1, hy0, r) + corner(x0, y0, hx0, hy0, r);
                    w = w < 0 ? 0 : (w > 1 ? 1 : w);
                    const bool on = i >= 0 && j >= 0 && size_t(i) < job.n_row && size_t(j) < job.n_col;
                    const float v = on ? job.image[size_t(i) * job.row_stride + size_t(j)] : __builtin_nanf("");
                    if (v - v == 0.0f) {
                        total += w * v;
                        area += w;
                    } else {
                        ++n_bad;
                    }
                }
            }
        }
        job.total[star] = area > 0 ? total : __builtin_nan("");
        job.area[star] = area;
        job.n_bad[star] = n_bad;
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
