// Fourier transforms of blocks of rows, in place, as their plan says. Every lane is transformed alone, so what is in
// others changes no bit of it. Compiled once for each type: fft.cpp, fft_wide.cpp.
#pragma once

#include "rows.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

// All columns of a block, the first half of its transform.
void transform_columns(const FftPlan& plan, float* block);
void transform_columns(const FftPlan& plan, double* block);

// The same from another block of the same shape, each row turned by its phase (n_row,).
void transform_columns(const FftPlan& plan, float* block, const float* source, const float* phase);

// One group of a block whose columns were transformed: the second half of its transform. buffer: plan.n_buffer rows.
void transform_group(const FftPlan& plan, float* block, size_t group, float* buffer);
void transform_group(const FftPlan& plan, double* block, size_t group, double* buffer);

// Transforms of the same length: line i on the rows first[i], first[i] + step, ...
struct FftLines {
    const uint32_t* first; // (n,)
    size_t n;
    size_t step;
};

// Stages of a tile from `stage` on, for every line. `last` (n, length), by row, multiplies what comes out unless it is
// null.
void forward_stages(const FftTile& tile, int stage, float* block, const FftLines& lines, const float* last);
void forward_stages(const FftTile& tile, int stage, double* block, const FftLines& lines, const double* last);

} // namespace starskope::detail::STARSKOPE_VARIANT
