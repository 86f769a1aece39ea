// Elements of transforms at frequencies between those of the grid, of two real series at a time.
#pragma once

#include "fft.hpp"
#include "lomb_job.hpp"
#include "series.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Neighbouring elements, as the taps want them: of the series in the real parts of a block (re, im), then of that in
// the imaginary parts, all times 2.
constexpr size_t band_rows = 64;
constexpr size_t band_row = 4 * lanes;

// Two series in every lane, or one with its weights.
struct ElementPair {
    Complex<Floats> first, second;
};

// Elements begin, begin + 1, ... of a transformed block, to the whole band.
STARSKOPE_INLINE void fill_band(const FftPlan& plan, const float* block, ptrdiff_t begin, float* band) {
    const ptrdiff_t n = ptrdiff_t(plan.n);
    ptrdiff_t m = begin % n;
    m += m < 0 ? n : 0;
    for (size_t i = 0; i < band_rows; ++i, m = m + 1 == n ? 0 : m + 1) {
        const Complex<Floats> z = load_row<Floats>(block + plan.row_of[m] * row_size<Floats>);
        const Complex<Floats> mirror = load_row<Floats>(block + plan.row_of[m == 0 ? 0 : n - m] * row_size<Floats>);
        float* const to = band + i * band_row;
        store(to, z.re + mirror.re);
        store(to + lanes, z.im - mirror.im);
        store(to + 2 * lanes, z.im + mirror.im);
        store(to + 3 * lanes, mirror.re - z.re);
    }
}

STARSKOPE_INLINE Complex<Floats> weigh(const float* rows, const float* taps) {
    Complex<Floats> sum{};
#pragma GCC unroll 8
    for (size_t i = 0; i < lomb_taps; ++i) {
        const Floats tap = splat(taps[i]);
        sum.re = multiply_add(tap, load<Floats>(rows + i * band_row), sum.re);
        sum.im = multiply_add(tap, load<Floats>(rows + i * band_row + lanes), sum.im);
    }
    return sum;
}

// Calls each(k, rows of the band, taps) for k in [begin, end).
template <class Each>
STARSKOPE_INLINE void for_elements(const LombGrid& grid, const float* block, float* band, size_t begin, size_t end,
                                   const Each& each) {
    ptrdiff_t from = 0, to = 0; // elements on the band
    for (size_t k = begin; k < end; ++k) {
        const ptrdiff_t first = grid.first[k];
        if (first + ptrdiff_t(lomb_taps) > to) {
            fill_band(grid.fine->plan, block, first, band);
            from = first;
            to = first + ptrdiff_t(band_rows);
        }
        each(k, band + size_t(first - from) * band_row, grid.taps + k * lomb_taps);
    }
}

void transform_block(const FftPlan& plan, float* block, float* buffer) {
    transform_columns(plan, block);
    for (size_t group = 0; group < plan.n_group; ++group) {
        transform_group(plan, block, group, buffer);
    }
}

// exp(-2 pi i (start + j step) / n) for j = 0, 1, ...
struct Turns {
    double re, im, step_re, step_im;

    Turns(size_t start, size_t step, size_t n) {
        const double each = 2.0 * 3.14159265358979323846 / double(n);
        re = __builtin_cos(each * double(start));
        im = -__builtin_sin(each * double(start));
        step_re = __builtin_cos(each * double(step));
        step_im = -__builtin_sin(each * double(step));
    }

    void next() {
        const double turned = re * step_re - im * step_im;
        im = re * step_im + im * step_re;
        re = turned;
    }
};

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
