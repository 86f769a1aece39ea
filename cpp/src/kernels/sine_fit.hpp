// The least-squares fit of c + a cos + b sin at one frequency, from the moments of the weights and of the series.
#pragma once

#include "butterflies.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Weighted second moments of cosine and sine about their means, of weights with sum 1.
template <class T>
struct Trigonometry {
    T cc, ss, cs;
};

// From the transform of the weights at the frequency and at twice the frequency, both over the sum of the weights.
template <class T>
STARSKOPE_INLINE Trigonometry<T> trigonometry(Complex<T> once, Complex<T> twice) {
    return {0.5f + 0.5f * twice.re - once.re * once.re, 0.5f - 0.5f * twice.re - once.im * once.im,
            0.5f * twice.im - once.re * once.im};
}

// Rows that turn (cosine part, sine part) of a series with variance 1 into parts along the principal axes, whose
// squares add up to the power. Where only one function of the two is left (at Nyquist, say), so is only one axis.
struct Axes {
    double a, b, c, d;
};

// Moments from float64 sums below this, of weights with sum 1, are rounding errors.
constexpr double least_first = 1e-12, least_second = 1e-14;

STARSKOPE_INLINE Axes principal_axes(Trigonometry<double> t) {
    const double middle = 0.5 * (t.cc + t.ss), apart = 0.5 * (t.cc - t.ss);
    const double radius = __builtin_sqrt(apart * apart + t.cs * t.cs), first = middle + radius;
    if (!(first > least_first)) {
        return {0.0, 0.0, 0.0, 0.0};
    }
    double cosine = 1.0, sine = 0.0; // of the angle of the first axis
    if (radius > 0.0) {
        if (apart >= 0.0) {
            cosine = __builtin_sqrt(0.5 * (1.0 + apart / radius));
            sine = 0.5 * t.cs / (radius * cosine);
        } else {
            sine = __builtin_sqrt(0.5 * (1.0 - apart / radius));
            cosine = 0.5 * t.cs / (radius * sine);
        }
    }
    const double second = (t.cc * t.ss - t.cs * t.cs) / first;
    const double major = 1.0 / __builtin_sqrt(first);
    const double minor = second > least_second && second > least_first * first ? 1.0 / __builtin_sqrt(second) : 0.0;
    return {cosine * major, sine * major, -sine * minor, cosine * minor};
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
