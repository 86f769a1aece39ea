// From panels of series to rows of their spectra: the order in which columns, groups and results follow each other.
#pragma once

#include "fft.hpp"
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

// Past the caches where whole lines can be written: they are not read before, and nobody needs them soon.
STARSKOPE_INLINE void write_vector(float* out, Floats x, bool past) {
#if defined(__AVX512F__)
    if (past) {
        _mm512_stream_ps(out, x);
        return;
    }
#elif defined(__AVX2__)
    if (past) {
        _mm256_stream_ps(out, x);
        return;
    }
#endif
    (void)past;
    store(out, x);
}

// What was written past the caches is seen by all others from here on.
STARSKOPE_INLINE void finish_writing() {
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

// Series at, at + 1, ... of a row of a panel of n_series.
STARSKOPE_INLINE void write(float* row, size_t at, Floats x, size_t n_series) {
    if (at + lanes <= n_series) {
        write_vector(row + at, x, uintptr_t(row) % 64 == 0);
    } else if (at < n_series) {
        const size_t n = n_series - at < lanes ? n_series - at : lanes;
        __builtin_memcpy(row + at, &x, n * sizeof(float));
    }
}

constexpr size_t line_floats = 16; // float32 values in a cache line

// Rows whose ends are kept from panel to panel; those of more would not stay in cache.
constexpr size_t most_kept_rows = size_t{1} << 15;

// One row of a panel of results, put down vector by vector: as whole lines past the caches, wherever the row begins. Of
// a line that two panels share the first one leaves its part in `kept` (line_floats,); null: such lines are written
// twice, and read before.
struct RowOfPanel {
    float* row;
    float* kept;
    size_t n_series;
    bool first, last; // panels of the row
    size_t shift;     // where in its line the row begins
    Floats before{};

    RowOfPanel(float* row_, float* kept_, size_t n_series_, bool first_, bool last_)
        : row(row_), kept(kept_), n_series(n_series_), first(first_), last(last_),
          shift(uintptr_t(row_) / sizeof(float) % line_floats) {
#if defined(__AVX512F__)
        if (kept != nullptr && shift != 0 && !first) {
            before = load<Floats>(kept);
        }
#endif
    }

    __attribute__((always_inline)) void put(size_t at, Floats x) {
#if defined(__AVX512F__)
        if (kept != nullptr && shift != 0) {
            const auto among = [](size_t begin, size_t end)
                                   __attribute__((always_inline)) { return __mmask16((1u << end) - (1u << begin)); };
            const __m512i from =
                _mm512_add_epi32(_mm512_set1_epi32(int(line_floats - shift)),
                                 _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
            const __m512 whole = _mm512_permutex2var_ps(before, from, x);
            if (at + line_floats > n_series) {
                if (at == 0 && !first) {
                    _mm512_mask_storeu_ps(row - shift, among(0, shift), whole);
                }
                write(row, at, x, n_series);
                return;
            }
            if (at == 0 && first) {
                _mm512_mask_storeu_ps(row - shift, among(shift, line_floats), whole);
            } else {
                _mm512_stream_ps(row + at - shift, whole);
            }
            before = x;
            if (at + 2 * line_floats > n_series) {
                if (last) {
                    _mm512_mask_storeu_ps(row + at, among(line_floats - shift, line_floats), x);
                } else {
                    store(kept, x);
                }
            }
            return;
        }
#endif
        write(row, at, x, n_series);
    }
};

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
