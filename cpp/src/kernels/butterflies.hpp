// Discrete Fourier transforms of a few complex numbers per lane, in registers: natural order in and out, forward sign.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

template <class V>
struct LaneTraits;
template <>
struct LaneTraits<Floats> {
    using Element = float;
    static constexpr int lanes = STARSKOPE_VARIANT::lanes;
};
template <>
struct LaneTraits<Doubles> {
    using Element = double;
    static constexpr int lanes = half;
};
template <class V>
using Element = typename LaneTraits<V>::Element;

template <class V>
struct Complex {
    V re, im;
};

template <class V>
STARSKOPE_INLINE Complex<V> operator+(Complex<V> a, Complex<V> b) {
    return {a.re + b.re, a.im + b.im};
}

template <class V>
STARSKOPE_INLINE Complex<V> operator-(Complex<V> a, Complex<V> b) {
    return {a.re - b.re, a.im - b.im};
}

// -i a
template <class V>
STARSKOPE_INLINE Complex<V> turned(Complex<V> a) {
    return {a.im, -a.re};
}

template <class V>
STARSKOPE_INLINE V broadcast(Element<V> x) {
    return x - V{};
}

// a * (w[0] + i w[1])
template <class V>
STARSKOPE_INLINE Complex<V> multiplied(Complex<V> a, const Element<V>* w) {
    const V re = broadcast<V>(w[0]), im = broadcast<V>(w[1]);
    return {multiply_subtract(a.re, re, a.im * im), multiply_add(a.re, im, a.im * re)};
}

template <class V>
STARSKOPE_INLINE void butterfly2(Complex<V>& a, Complex<V>& b) {
    const Complex<V> difference = a - b;
    a = a + b;
    b = difference;
}

template <class V>
STARSKOPE_INLINE void butterfly4(Complex<V>& a, Complex<V>& b, Complex<V>& c, Complex<V>& d) {
    const Complex<V> sum = a + c, difference = a - c, odd_sum = b + d, odd = b - d;
    a = sum + odd_sum;
    c = sum - odd_sum;
    b = {difference.re + odd.im, difference.im - odd.re};
    d = {difference.re - odd.im, difference.im + odd.re};
}

// x[0] + sum of cos and sin of odd lengths, from the sums and differences of x[i] and x[r - i].
constexpr double cosines3[] = {-0.5};
constexpr double sines3[] = {0.86602540378443864676};
constexpr double cosines5[] = {0.30901699437494742410, -0.80901699437494742410};
constexpr double sines5[] = {0.95105651629515357212, 0.58778525229247312917};
constexpr double cosines7[] = {0.62348980185873353053, -0.22252093395631440429, -0.90096886790241912624};
constexpr double sines7[] = {0.78183148246802980871, 0.97492791218182360702, 0.43388373911755812048};
constexpr double cosines11[] = {0.841253532831181168862, 0.415415013001886425529, -0.142314838273285140444,
                                -0.654860733945285064057, -0.95949297361449738989};
constexpr double sines11[] = {0.540640817455597582108, 0.909631995354518371412, 0.989821441880932732376,
                              0.755749574354258283774, 0.281732556841429697711};
constexpr double cosines13[] = {0.8854560256532098959,   0.568064746731155802512,  0.120536680255323053349,
                                -0.35460488704253562597, -0.748510748171101098635, -0.970941817426052027157};
constexpr double sines13[] = {0.464723172043768545656, 0.82298386589365639458,  0.992708874098053992801,
                              0.93501624268541482344,  0.663122658240795202377, 0.239315664287557767149};

template <int r, class V>
STARSKOPE_INLINE void odd_butterfly(Complex<V> (&x)[r], const double* cosines, const double* sines) {
    constexpr int n = (r - 1) / 2;
    using E = Element<V>;
    Complex<V> sum[n], difference[n], total = x[0];
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) {
        sum[i] = x[i + 1] + x[r - 1 - i];
        difference[i] = x[i + 1] - x[r - 1 - i];
        total = total + sum[i];
    }
#pragma GCC unroll 16
    for (int k = 1; k <= n; ++k) {
        Complex<V> even = x[0], odd{};
#pragma GCC unroll 16
        for (int i = 1; i <= n; ++i) {
            const int j = i * k % r;
            const V c = broadcast<V>(E(cosines[(j <= n ? j : r - j) - 1]));
            const V s = broadcast<V>(E(j <= n ? sines[j - 1] : -sines[r - j - 1]));
            even = {multiply_add(c, sum[i - 1].re, even.re), multiply_add(c, sum[i - 1].im, even.im)};
            odd = i == 1 ? Complex<V>{s * difference[0].re, s * difference[0].im}
                         : Complex<V>{multiply_add(s, difference[i - 1].re, odd.re),
                                      multiply_add(s, difference[i - 1].im, odd.im)};
        }
        x[k] = {even.re + odd.im, even.im - odd.re};
        x[r - k] = {even.re - odd.im, even.im + odd.re};
    }
    x[0] = total;
}

template <class V>
STARSKOPE_INLINE void butterfly8(Complex<V>& x0, Complex<V>& x1, Complex<V>& x2, Complex<V>& x3, Complex<V>& x4,
                                 Complex<V>& x5, Complex<V>& x6, Complex<V>& x7) {
    butterfly4(x0, x2, x4, x6);
    butterfly4(x1, x3, x5, x7);
    const V c = broadcast<V>(Element<V>(0.70710678118654752440));
    const V a = x3.re + x3.im, b = x3.im - x3.re; // element 1 of the odd ones, before its turn by an eighth
    const V d = x7.im - x7.re, e = x7.re + x7.im; // element 3
    const Complex<V> y0 = x0, y1 = x2, y2 = x4, y3 = x6, z0 = x1, z2 = x5;
    x0 = y0 + z0;
    x4 = y0 - z0;
    x1 = {multiply_add(c, a, y1.re), multiply_add(c, b, y1.im)};
    x5 = {multiply_add(-c, a, y1.re), multiply_add(-c, b, y1.im)};
    x2 = {y2.re + z2.im, y2.im - z2.re};
    x6 = {y2.re - z2.im, y2.im + z2.re};
    x3 = {multiply_add(c, d, y3.re), multiply_add(-c, e, y3.im)};
    x7 = {multiply_add(-c, d, y3.re), multiply_add(c, e, y3.im)};
}

template <int r, class V>
STARSKOPE_INLINE void butterfly(Complex<V> (&x)[r]) {
    if constexpr (r == 2) {
        butterfly2(x[0], x[1]);
    } else if constexpr (r == 3) {
        odd_butterfly(x, cosines3, sines3);
    } else if constexpr (r == 4) {
        butterfly4(x[0], x[1], x[2], x[3]);
    } else if constexpr (r == 5) {
        odd_butterfly(x, cosines5, sines5);
    } else if constexpr (r == 7) {
        odd_butterfly(x, cosines7, sines7);
    } else if constexpr (r == 8) {
        butterfly8(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
    } else if constexpr (r == 11) {
        odd_butterfly(x, cosines11, sines11);
    } else if constexpr (r == 13) {
        odd_butterfly(x, cosines13, sines13);
    } else {
        static_assert(r == 1, "this radix has no butterfly");
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
