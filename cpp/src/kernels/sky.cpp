// Levels of the sky: clipped medians of boxes and rings, and the surface through them.
#include "clipped_median.hpp"
#include "surface.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Copies what is on the image of the pixels around a star; returns their number.
STARSKOPE_INLINE size_t copy_ring(const RingMediansJob& job, const Ring& ring, int64_t row, int64_t column, float* to) {
    const RingRun* const runs = job.run + ring.first_run;
    const size_t n_run = ring.last_run - ring.first_run;
    const int64_t n_row = int64_t(job.n_row), n_col = int64_t(job.n_col);
    size_t n = 0;
    if (row >= ring.reach && row + ring.reach < n_row && column >= ring.reach &&
        column + ring.reach + int64_t(longest_ring_run) <= n_col) {
        const float* const centre = job.image + size_t(row) * job.row_stride + size_t(column);
        const int64_t stride = int64_t(job.row_stride);
        for (size_t k = 0; k < n_run; ++k) {
            const float* const from = centre + (int64_t(runs[k].dy) * stride + int64_t(runs[k].dx));
            __builtin_memcpy(to + n, from, longest_ring_run * sizeof(float));
            n += size_t(runs[k].n);
        }
        return n;
    }
    for (size_t k = 0; k < n_run; ++k) {
        const int64_t y = row + runs[k].dy, left = column + runs[k].dx, right = left + runs[k].n;
        const int64_t first = left < 0 ? 0 : left, last = right < n_col ? right : n_col;
        if (y >= 0 && y < n_row && first < last) {
            const float* const from = job.image + size_t(y) * job.row_stride + size_t(first);
            __builtin_memcpy(to + n, from, size_t(last - first) * sizeof(float));
            n += size_t(last - first);
        }
    }
    return n;
}

// Stars lie anywhere: the rows around the next one are fetched while this one is worked on.
STARSKOPE_INLINE void fetch(const RingMediansJob& job, size_t star) {
    const int64_t reach = job.ring[job.ring_of[star]].reach;
    const int64_t left = job.column[star] - reach, right = job.column[star] + reach;
    if (left < 0 || right >= int64_t(job.n_col)) {
        return;
    }
    const int64_t top = job.row[star] - reach, bottom = job.row[star] + reach;
    for (int64_t row = top < 0 ? 0 : top; row <= bottom && row < int64_t(job.n_row); ++row) {
        const float* const at = job.image + size_t(row) * job.row_stride;
        for (int64_t column = left; column < right; column += 16) {
            __builtin_prefetch(at + column);
        }
        __builtin_prefetch(at + right);
    }
}

// The pixels of the box that comes after one.
STARSKOPE_INLINE Ahead box_after(const BoxMediansJob& job, size_t i, size_t j) {
    const bool is_last = j + 1 == job.m;
    if (is_last && i + 1 == job.n) {
        return {};
    }
    const int64_t* const row = job.row_edge + i + (is_last ? 1 : 0);
    const int64_t* const column = job.column_edge + (is_last ? 0 : j + 1);
    const size_t n_col = size_t(column[1] - column[0]), n_row = size_t(row[1] - row[0]);
    if (n_col == 0) {
        return {};
    }
    return {job.image + size_t(row[0]) * job.row_stride + size_t(column[0]), job.row_stride, n_row, n_col, 0};
}

} // namespace

size_t sky_scratch(size_t n_pixel) {
    return 4 * (padded_size(n_pixel) + 2 * block) + 4 * few;
}

void box_medians(const BoxMediansJob& job) {
    for (size_t i = 0; i < job.n; ++i) {
        const size_t top = size_t(job.row_edge[i]), bottom = size_t(job.row_edge[i + 1]);
        for (size_t j = 0; j < job.m; ++j) {
            const size_t left = size_t(job.column_edge[j]), width = size_t(job.column_edge[j + 1]) - left;
            float* const x = job.scratch;
            size_t n = 0;
            for (size_t row = top; width > 0 && row < bottom; ++row) { // an image without columns may be nowhere
                const float* pixel = job.image + row * job.row_stride + left;
                if (job.surface.line == nullptr) {
                    __builtin_memcpy(x + n, pixel, width * sizeof(float));
                } else {
                    subtract_row(pixel, taps_of(job.surface, row), left, width, x + n);
                }
                n += width;
            }
            const size_t room = padded_size(n) + 2 * block;
            pad(x, n);
            n = finite_values(x, n);
            const ClippedMedian found = clipped_median(x, n, job.sigma, x + room, box_after(job, i, j));
            job.median[i * job.m + j] = found.median;
            job.count[i * job.m + j] = int32_t(found.n);
        }
    }
}

void ring_medians(const RingMediansJob& job) {
    for (size_t star = 0; star < job.n_star; ++star) {
        if (star + 1 < job.n_star) {
            fetch(job, star + 1);
        }
        const Ring& ring = job.ring[job.ring_of[star]];
        const size_t side = size_t(2 * ring.reach + 1);
        float* const x = job.scratch;
        float* const spare = x + padded_size(side * side + longest_ring_run) + 2 * block;
        size_t n = copy_ring(job, ring, job.row[star], job.column[star], x);
        pad(x, n);
        n = finite_values(x, n);
        const ClippedMedian found = clipped_median(x, n, job.sigma, spare, {});
        job.median[star] = found.median;
        job.count[star] = int32_t(found.n);
    }
}

void subtract_surface(const SurfaceJob& job) {
    for (size_t row = 0; row < job.n_row; ++row) {
        const float* const image = job.image == nullptr ? nullptr : job.image + row * job.row_stride;
        subtract_row(image, taps_of(job.surface, row), 0, job.n_col, job.out + row * job.out_stride);
    }
}

void surface_lines(const SurfaceLinesJob& job) {
    for (size_t first = 0, end; first < job.n_col; first = end) {
        // Columns that take the same knots.
        for (end = first + 1; end < job.n_col && job.start[end] == job.start[first];) {
            ++end;
        }
        for (size_t i = 0; i < job.n_line; ++i) {
            const float* const knot = job.knot + i * job.knot_stride + size_t(job.start[first]);
            float* const line = job.line + i * job.line_stride;
            float at[most_taps];
            for (size_t k = 0; k < job.n_tap; ++k) {
                at[k] = knot[k];
            }
            size_t j = first;
            for (; j + size_t(lanes) <= end; j += size_t(lanes)) {
                Floats value = load<Floats>(job.weight + j) * splat(at[0]);
                for (size_t k = 1; k < job.n_tap; ++k) {
                    value = value + load<Floats>(job.weight + k * job.weight_stride + j) * splat(at[k]);
                }
                store(line + j, value);
            }
            for (; j < end; ++j) {
                float value = job.weight[j] * at[0];
                for (size_t k = 1; k < job.n_tap; ++k) {
                    value = value + job.weight[k * job.weight_stride + j] * at[k];
                }
                line[j] = value;
            }
        }
    }
}

void surface_values(const SurfaceValuesJob& job) {
    for (size_t star = 0; star < job.n_star; ++star) {
        const double row = __builtin_rint(job.row[star]), column = __builtin_rint(job.column[star]);
        const bool inside = row >= 0.0 && row < double(job.n_row) && column >= 0.0 && column < double(job.n_col);
        job.value[star] =
            inside ? double(surface_once(taps_of(job.surface, size_t(row)), size_t(column))) : __builtin_nan("");
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
