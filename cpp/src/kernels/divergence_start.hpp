// Where a machine starts: what its data are like, and its first weights.
#pragma once

#include "divergence_layers.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Adds rows to `sums` (n_col), in their order; the smallest and the largest value widen range[0] and range[1], which
// leaves out NaN.
inline void describe_rows(const float* rows, size_t stride, size_t n_row, size_t n_col, double* sums, float* range) {
    Floats low = splat(range[0]), high = splat(range[1]);
    const size_t n_whole = n_col / lanes * lanes;
    for (size_t row = 0; row < n_row; ++row) {
        const float* const x = rows + row * stride;
        for (size_t i = 0; i < n_whole; i += lanes) {
            const Floats v = load<Floats>(x + i);
            low = v < low ? v : low;
            high = v > high ? v : high;
            for (int side = 0; side < 2; ++side) {
                double* const at = sums + i + side * half;
                store_wide(at, load_wide(at) + load_doubles(x + i + side * half));
            }
        }
        for (size_t i = n_whole; i < n_col; ++i) {
            range[0] = x[i] < range[0] ? x[i] : range[0];
            range[1] = x[i] > range[1] ? x[i] : range[1];
            sums[i] += double(x[i]);
        }
    }
    for (int lane = 0; lane < lanes; ++lane) {
        range[0] = low[lane] < range[0] ? low[lane] : range[0];
        range[1] = high[lane] > range[1] ? high[lane] : range[1];
    }
}

// Normal numbers of standard deviation `deviation` for `lanes` rows (as far as there are n_row), from job.first_row on,
// and job.n_hidden units: those of the job's address.
inline void draw_normal(const DivergenceJob& job, float deviation, size_t n_row, float* out, size_t stride) {
    for (size_t unit = 0; unit < job.n_hidden; unit += lanes) {
        const size_t n_unit = least(lanes, job.n_hidden - unit);
        Block block = {};
        for (size_t i = 0; i < n_unit; i += 4) {
            const RandomWords random = random_words(job, 0, (unit + i) / 4);
            const SineCosine first = two_normals(random.word[0], random.word[1]);
            const SineCosine second = two_normals(random.word[2], random.word[3]);
            block.row[i] = first.cosine * splat(deviation);
            block.row[i + 1] = first.sine * splat(deviation);
            block.row[i + 2] = second.cosine * splat(deviation);
            block.row[i + 3] = second.sine * splat(deviation);
        }
        transpose(block);
        for (size_t i = 0; i < least(lanes, n_row); ++i) {
            __builtin_memcpy(out + i * stride + unit, &block.row[i], n_unit * sizeof(float));
        }
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
