// Overlap of a circle with a grid of pixels, exactly.
//
// Let C(x, y) be the area of the part of the circle with X < x and Y < y, centre at the origin. A pixel's overlap is
// the second difference of C over its corners. With H(t), the area with X < t, C is made of terms of one variable each:
//   corner inside the circle    x y + (H(x) + H(y)) / 2 - pi r^2 / 4
//   outside, x > 0 and y > 0    H(x) + H(y) - pi r^2
//   outside, x < 0 and y < 0    0
//   outside, signs differ       H of the negative one
// so square roots and arc sines are needed once per grid line and not once per corner, and what remains per corner is
// arithmetic and selection. Doubles neighbouring corners are worked on at a time and the eight partial sums are added
// in a fixed order, so every instruction set gives the same bits.
#include "surface.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr double pi = 3.14159265358979323846;
constexpr double farthest = 1e9; // a centre beyond is nowhere: float64 could not tell its pixels
constexpr size_t partial = 8;    // partial sums
constexpr double widest_fetched = 8.0;
constexpr size_t n_ahead = 4;
constexpr size_t parts = partial / half;
static_assert(partial % narrow == 0);

// Arc sine over [-1, 1], error below 1e-15: the rational approximation of FreeBSD's e_asin.c (Sun Microsystems 1993).
STARSKOPE_INLINE Doubles arc_sine(Doubles x) {
    const Doubles a = x < 0.0 ? -x : x;
    const Longs outer = a > 0.5;
    const Doubles t = outer ? 0.5 * (1.0 - a) : a * a;
    Doubles p = -4.00555345006794114027e-02 + t * (7.91534994289814532176e-04 + t * 3.47933107596021167570e-05);
    p = 1.66666666666666657415e-01 + t * (-3.25565818622400915405e-01 + t * (2.01212532134862925881e-01 + t * p));
    Doubles q = 2.02094576023350569471e+00 + t * (-6.88283971605453293030e-01 + t * 7.70381505559019352791e-02);
    q = 1.0 + t * (-2.40339491173441421878e+00 + t * q);
    const Doubles s = outer ? square_root(t) : a;
    const Doubles inner = s + s * (t * p / q);
    const Doubles value = outer ? 0.5 * pi - 2.0 * inner : inner;
    return x < 0.0 ? -value : value;
}

// H(t); beyond the circle 0 or pi r^2.
STARSKOPE_INLINE Doubles area_below(Doubles t, double r) {
    Doubles u = t / r;
    u = u > 1.0 ? Doubles{} + 1.0 : u;
    u = u < -1.0 ? Doubles{} - 1.0 : u;
    return r * r * (u * square_root(1.0 - u * u) + (arc_sine(u) + 0.5 * pi));
}

// C(x, y) for `half` x, hx = H(x) and hy = H(y).
STARSKOPE_INLINE Doubles corners(Doubles x, Doubles hx, double y, double hy, double r) {
    const double full = pi * (r * r);
    const Doubles inside = x * y + (0.5 * (hx + hy) - 0.25 * full);
    const Doubles upper = x > 0.0 ? hx + (hy - full) : hx;
    const Doubles lower = x > 0.0 ? Doubles{} + hy : Doubles{};
    return x * x + y * y < r * r ? inside : (y > 0.0 ? upper : lower);
}

// Distance of the nearest point of [low, low + 1] from 0.
STARSKOPE_INLINE double nearest(double low) {
    return low > 0.0 ? low : low < -1.0 ? -1.0 - low : 0.0;
}

// Distance of its farthest point.
STARSKOPE_INLINE double farthest_of(double low) {
    return low > -0.5 ? low + 1.0 : -low;
}

STARSKOPE_INLINE double added(const Doubles (&sums)[parts]) {
    double v[partial];
    __builtin_memcpy(v, sums, sizeof v);
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

STARSKOPE_INLINE size_t rounded(size_t n) {
    return (n + partial - 1) / partial * partial;
}

// Pixels first..last of one axis that a circle can touch, and the part of them on the image: begin..begin + n - 1.
struct Span {
    int64_t first;
    int64_t last;
    int64_t begin;
    int64_t n;
    double start; // lower edge of pixel `begin`, from the centre
};

STARSKOPE_INLINE Span span(double centre, double r, size_t size) {
    Span s;
    s.first = int64_t(__builtin_floor(centre - r + 0.5));
    s.last = int64_t(__builtin_floor(centre + r + 0.5));
    s.begin = s.first < 0 ? 0 : s.first;
    const int64_t end = s.last < int64_t(size) ? s.last + 1 : int64_t(size);
    s.n = end > s.begin ? end - s.begin : 0;
    s.start = double(s.begin) - 0.5 - centre;
    return s;
}

// Pixels off the image that the circle touches.
int32_t count_off(const Span& rows, const Span& columns, double cy, double cx, double r) {
    int32_t n = 0;
    for (int64_t i = rows.first; i <= rows.last; ++i) {
        const double dy = nearest(double(i) - 0.5 - cy);
        const bool on = i >= rows.begin && i < rows.begin + rows.n;
        for (int64_t j = columns.first; j <= columns.last; ++j) {
            if (on && j == columns.begin && columns.n > 0) {
                j += columns.n - 1;
                continue;
            }
            const double dx = nearest(double(j) - 0.5 - cx);
            n += dx * dx + dy * dy < r * r;
        }
    }
    return n;
}

struct Sum {
    double total;
    double area;
    int32_t n_bad;
};

Sum sum_circle(const ApertureJob& job, const Span& rows, const Span& columns, double r) {
    const size_t n_row = size_t(rows.n), n_col = size_t(columns.n);
    const size_t n_line = rounded(n_col + 1 + n_row + 1), n_pixel = rounded(n_col), n_edge = rounded(n_col + 1);
    double* const line = job.scratch; // column edges, then row edges, then a rest that nobody reads
    double* const area = line + n_line + partial;
    double* const gap = area + n_line + partial; // squared distance of each column's nearest point
    double* const reach = gap + n_edge;          // of its farthest point
    double* const corner = reach + n_edge;       // C on the lower edge of the row at hand
    float* const copy = reinterpret_cast<float*>(corner + n_edge + partial);

    for (size_t i = 0; i < n_line; ++i) {
        line[i] = i <= n_col ? columns.start + double(i) : rows.start + double(i - n_col - 1);
    }
    for (size_t i = 0; i < n_line; i += half) {
        store_wide(area + i, area_below(load_wide(line + i), r));
    }
    for (size_t i = 0; i < n_edge; ++i) {
        const double d = nearest(line[i]);
        const double far = farthest_of(line[i]);
        gap[i] = i < n_col ? d * d : __builtin_inf();
        reach[i] = far * far;
    }
    const double* const y = line + n_col + 1;
    const double* const y_area = area + n_col + 1;
    for (size_t i = 0; i < n_edge; i += half) {
        store_wide(corner + i, corners(load_wide(line + i), load_wide(area + i), y[0], y_area[0], r));
    }
    const bool overhangs = size_t(columns.begin) + n_pixel > job.n_col;
    if (overhangs) {
        for (size_t j = 0; j < n_pixel; ++j) {
            copy[j] = 0.0f;
        }
    }
    Doubles total[parts]{}, covered[parts]{};
    Longs bad{};
    for (size_t i = 0; i < n_row; ++i) {
        const float* pixel = job.image + (size_t(rows.begin) + i) * job.row_stride + size_t(columns.begin);
        if (job.surface.line != nullptr) {
            const Taps taps = taps_of(job.surface, size_t(rows.begin) + i);
            if (overhangs) {
                subtract_row(pixel, taps, size_t(columns.begin), n_col, copy);
            } else {
                subtract_narrow(pixel, taps, size_t(columns.begin), n_pixel, copy);
            }
            pixel = copy;
        } else if (overhangs) {
            __builtin_memcpy(copy, pixel, n_col * sizeof(float));
            pixel = copy;
        }
        const double dy = nearest(y[i]), far = farthest_of(y[i]);
        const double room = r * r - dy * dy, whole_room = r * r - far * far;
        // C on the upper edge less C on the lower one: the strip left of each column edge. A pixel's overlap is the
        // difference of neighbouring strips.
        const auto strip_at = [&](size_t k) __attribute__((always_inline)) {
            const Doubles above = corners(load_wide(line + k), load_wide(area + k), y[i + 1], y_area[i + 1], r);
            const Doubles strip = above - load_wide(corner + k);
            store_wide(corner + k, above);
            return strip;
        };
        Doubles strip = strip_at(0);
        for (size_t j = 0; j < n_pixel; j += partial) {
#pragma GCC unroll 4
            for (size_t p = 0; p < parts; ++p) {
                const size_t k = j + p * half;
                const Doubles next = k + half < n_edge ? strip_at(k + half) : strip;
                Doubles overlap = shifted(strip, next) - strip;
                overlap = load_wide(reach + k) <= whole_room ? Doubles{} + 1.0 : overlap;
                const Doubles flux = load_doubles(pixel + k);
                const Longs touched = load_wide(gap + k) < room;
                const Longs there = (flux - flux) == 0.0;
                const Longs used = touched & there & (overlap > 0.0);
                total[p] += used ? overlap * flux : Doubles{};
                covered[p] += used ? overlap : Doubles{};
                bad -= touched & ~there;
                strip = next;
            }
        }
    }
    int64_t n_bad = 0;
    for (int i = 0; i < half; ++i) {
        n_bad += bad[i];
    }
    return {added(total), added(covered), int32_t(n_bad)};
}

// Stars lie anywhere: what a star needs is asked for some stars ahead.
STARSKOPE_INLINE void fetch(const ApertureJob& job, size_t star) {
    const double r = job.radius[star], cy = job.row[star], cx = job.column[star];
    if (!(r <= widest_fetched && cy >= 0.0 && cy < double(job.n_row) && cx >= 0.0 && cx < double(job.n_col))) {
        return;
    }
    const Span rows = span(cy, r, job.n_row), columns = span(cx, r, job.n_col);
    const float* at = job.image + size_t(rows.begin) * job.row_stride + size_t(columns.begin);
    for (int64_t i = 0; i < rows.n; ++i, at += job.row_stride) {
        __builtin_prefetch(at);
        __builtin_prefetch(at + columns.n - 1);
    }
    if (job.surface.line != nullptr && rows.n > 0) {
        fetch_taps(job.surface, size_t(rows.begin), size_t(columns.begin), size_t(columns.n));
    }
}

} // namespace

size_t aperture_scratch(double max_radius) {
    const size_t edges = size_t(2.0 * max_radius) + 4 + 2 * partial;
    return 2 * (2 * edges + partial) + 5 * edges;
}

void aperture_sums(const ApertureJob& job) {
    for (size_t star = 0; star < job.n_star; ++star) {
        const double r = job.radius[star], cy = job.row[star], cx = job.column[star];
        Sum sum{0.0, 0.0, 0};
        if (star + n_ahead < job.n_star) {
            fetch(job, star + n_ahead);
        }
        if (r > 0.0 && __builtin_fabs(cy) <= farthest && __builtin_fabs(cx) <= farthest) {
            const Span rows = span(cy, r, job.n_row), columns = span(cx, r, job.n_col);
            if (rows.n > 0 && columns.n > 0) {
                sum = sum_circle(job, rows, columns, r);
            }
            if (rows.n <= rows.last - rows.first || columns.n <= columns.last - columns.first) {
                sum.n_bad += count_off(rows, columns, cy, cx, r);
            }
        }
        job.total[star] = sum.area > 0.0 ? sum.total : __builtin_nan("");
        job.area[star] = sum.area;
        job.n_bad[star] = sum.n_bad;
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
