// From panels of series to rows of their spectra: the order in which columns, groups and results follow each other.
#pragma once

#include "fft.hpp"
#include "row_of_panel.hpp"
#include "series.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Transforms n_series series in `blocks`. Without residues columns(b, block) transforms the columns of block b; else
// the blocks are only read and `work`, two per block, is transformed. All blocks go through one bucket before the next
// begins, so that whole panels are written: write(bucket, blocks, their size).
template <class Columns, class Write>
void transform_panel(const FftGrid& grid, size_t n_series, float* blocks, float* work, float* buffer,
                     const Columns& columns, const Write& write) {
    const FftPlan& plan = grid.plan;
    const size_t block_size = plan.n_row * row_size<Floats>, n_block = (n_series + block_series - 1) / block_series;
    const bool padded = grid.n_residue > 1;
    const size_t work_size = padded ? 2 * block_size : block_size;
    for (size_t b = 0; b < n_block && !padded; ++b) {
        columns(b, blocks + b * block_size);
    }
    work = padded ? work : blocks;
    for (size_t i = 0; i < grid.n_bucket; ++i) {
        const FftBucket& bucket = grid.buckets[i];
        const bool two_residues = bucket.residue != bucket.mirror_residue;
        const bool two = two_residues || bucket.group != bucket.mirror_group;
        const bool turn = padded && (i == 0 || grid.buckets[i - 1].residue != bucket.residue);
        for (size_t b = 0; b < n_block; ++b) {
            float* const here = work + b * work_size;
            float* const mirror = two_residues ? here + block_size : here;
            const auto transform = [&](float* to, size_t residue) {
                transform_columns(plan, to, blocks + b * block_size, grid.phase.single + residue * plan.n_row * 2);
            };
            if (turn) {
                transform(here, bucket.residue);
                if (two_residues) {
                    transform(mirror, bucket.mirror_residue);
                }
            }
            transform_group(plan, here, bucket.group, buffer);
            if (two) {
                transform_group(plan, mirror, bucket.mirror_group, buffer);
            }
        }
        write(bucket, work, work_size);
    }
}

// Blocks that transform_panel needs beside the panel.
STARSKOPE_INLINE size_t work_blocks(const FftGrid& grid) {
    return grid.n_residue > 1 ? 2 * panel_blocks : 0;
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
