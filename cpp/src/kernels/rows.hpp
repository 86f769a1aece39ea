// Rows of blocks: one complex number per lane, a vector of real parts and then one of imaginary parts.
#pragma once

#include "butterflies.hpp"
#include "fft_plan.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

template <class V>
constexpr size_t row_size = 2 * size_t(LaneTraits<V>::lanes); // elements

template <class V>
STARSKOPE_INLINE V load_vector(const Element<V>* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

template <class V>
STARSKOPE_INLINE Complex<V> load_row(const Element<V>* row) {
    return {load_vector<V>(row), load_vector<V>(row + LaneTraits<V>::lanes)};
}

template <class V>
STARSKOPE_INLINE void store_row(Element<V>* row, Complex<V> x) {
    __builtin_memcpy(row, &x.re, sizeof x.re);
    __builtin_memcpy(row + LaneTraits<V>::lanes, &x.im, sizeof x.im);
}

template <class V>
STARSKOPE_INLINE const Element<V>* entries(const FftTable& table) {
    if constexpr (sizeof(Element<V>) == 4) {
        return table.single;
    } else {
        return table.wide;
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
