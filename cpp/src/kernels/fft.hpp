// Fourier transforms of blocks of rows, in place, as their plan says. Every lane is transformed alone, so what is in
// others changes no bit of it. Compiled once for each type: fft.cpp, fft_wide.cpp.
#pragma once

#include "rows.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

// Rows that are wanted next, called into the second-level cache while butterflies keep the core busy: memory is as slow
// as all the arithmetic of a transform, and both can run at once only if requests are spread over it.
struct Ahead {
    const char* row = nullptr;
    size_t n_row = 0; // still to call
    size_t stride = 0;
    size_t size = 0;   // bytes of a row that are wanted
    uint32_t rate = 0; // rows per butterfly in units of 2^-16
    uint32_t credit = 0;

    __attribute__((always_inline)) void step() {
        credit += rate;
        while (credit >= 1u << 16 && n_row > 0) {
            credit -= 1u << 16;
            for (size_t at = 0; at < size; at += 64) {
                __builtin_prefetch(row + at, 0, 2);
            }
            row += stride;
            --n_row;
        }
    }
};

// Butterflies that all rows of a block go through.
size_t count_butterflies(const FftPlan& plan);

// All columns of a block, the first half of its transform.
void transform_columns(const FftPlan& plan, float* block, Ahead* ahead = nullptr);
void transform_columns(const FftPlan& plan, double* block);

// The same from another block of the same shape, each row turned by its phase (n_row,).
void transform_columns(const FftPlan& plan, float* block, const float* source, const float* phase,
                       Ahead* ahead = nullptr);

// One group of a block whose columns were transformed: the second half of its transform. buffer: plan.n_buffer rows.
void transform_group(const FftPlan& plan, float* block, size_t group, float* buffer, Ahead* ahead = nullptr);
void transform_group(const FftPlan& plan, double* block, size_t group, double* buffer);

// Transforms of the same length: line i on the rows first[i], first[i] + step, ...
struct FftLines {
    const uint32_t* first; // (n,)
    size_t n;
    size_t step;
    Ahead* ahead; // or null
};

// Stages of a tile from `stage` on, for every line. `last` (n, length), by row, multiplies what comes out unless it is
// null.
void forward_stages(const FftTile& tile, int stage, float* block, const FftLines& lines, const float* last);
void forward_stages(const FftTile& tile, int stage, double* block, const FftLines& lines, const double* last);

} // namespace starskope::detail::STARSKOPE_VARIANT
