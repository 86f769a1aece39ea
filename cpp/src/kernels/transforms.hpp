// Transforms of complex and real series, forward and backward, in either type: the order in which panels are taken in,
// transformed and written.
#pragma once

#include "row_of_panel.hpp"
#include "transform_panel.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Rows of a block, each series by its scale.
template <class V>
struct Scaled {
    Complex<V> scale;
    Complex<V> operator()(const Element<V>* block, size_t row) const {
        const Complex<V> x = load_row<V>(block + row * row_size<V>);
        return {x.re * scale.re, x.im * scale.im};
    }
};

// Ends of rows that are kept from panel to panel.
template <class V>
size_t kept_rows(const FftGrid& grid) {
    const size_t most = grid.n_fft;
    return lanes == line_floats && most <= most_kept_rows ? most : 0;
}

// Where rows of results go.
template <class V>
struct TransformOutput {
    using E = Element<V>;
    const TransformJob<E>& job;
    float* kept; // (n_fft, line_floats), or null
    size_t first, n;
    bool last;

    // Row k, of which a series is `size` elements.
    __attribute__((always_inline)) RowOfPanel row(size_t k, size_t size) const {
        float* const to = reinterpret_cast<float*>(job.out + k * job.out_stride + first * size);
        return {to, kept == nullptr ? nullptr : kept + k * line_floats, n * size * (sizeof(E) / sizeof(float)),
                first == 0, last};
    }
};

template <class V>
STARSKOPE_INLINE void put(RowOfPanel& row, size_t vector, V x) {
    row.put(vector * size_t(lanes), (Floats)x);
}

template <class V>
void write_group(const TransformPanel<V>& panel, const TransformOutput<V>& out, size_t group) {
    const FftPlan& plan = panel.plan;
    const bool complex = panel.job.kind == TransformKind::complex, backward = panel.job.backward;
    const V all = broadcast<V>(Element<V>(panel.job.factor));
    for (size_t r = group * plan.group_rows; r < (group + 1) * plan.group_rows && r < plan.n_row; ++r) {
        const size_t k = plan.element[r];
        if (k >= plan.n) {
            continue;
        }
        RowOfPanel row = out.row(k, complex ? 2 : 1);
        for (size_t b = 0; b < panel.n_block; ++b) {
            const Complex<V> z = load_row<V>(panel.blocks + b * panel.block_size + r * row_size<V>);
            if (complex) {
                const Complex<V> x = backward ? Complex<V>{z.im * all, z.re * all} : Complex<V>{z.re * all, z.im * all};
                put(row, 2 * b, PairsOf<V>::first(x));
                put(row, 2 * b + 1, PairsOf<V>::second(x));
            } else {
                const Complex<V> f = load_row<V>(panel.factor + b * row_size<V>);
                put(row, 2 * b, z.im * f.re);
                put(row, 2 * b + 1, z.re * f.im);
            }
        }
    }
}

template <class V>
void write_halves(const TransformPanel<V>& panel, const TransformOutput<V>& out, const FftBucket& bucket) {
    const FftGrid& grid = *panel.job.grid;
    const V middle = broadcast<V>(Element<V>(0.5));
    for (size_t i = bucket.first_pair; i < bucket.end_pair; ++i) {
        const FftPair& pair = grid.pairs[i];
        RowOfPanel row = out.row(pair.k, 2);
        for (size_t b = 0; b < panel.n_block; ++b) {
            const Element<V>* const block = panel.blocks + b * panel.block_size;
            const Complex<V> z = load_row<V>(block + pair.row * row_size<V>);
            const Complex<V> m = load_row<V>(block + pair.mirror * row_size<V>);
            const Complex<V> f = load_row<V>(panel.factor + b * row_size<V>);
            const V fx = f.re * middle, fy = f.im * middle;
            const Complex<V> x{(z.re + m.re) * fx, (z.im - m.im) * fx};
            const Complex<V> y{(z.im + m.im) * fy, (m.re - z.re) * fy};
            put(row, 4 * b, PairsOf<V>::first(x));
            put(row, 4 * b + 1, PairsOf<V>::second(x));
            put(row, 4 * b + 2, PairsOf<V>::first(y));
            put(row, 4 * b + 3, PairsOf<V>::second(y));
        }
    }
}

template <class V>
size_t scratch_of(const FftGrid& grid) {
    return (most_blocks<V> * grid.plan.n_row + grid.plan.n_buffer) * row_size<V> +
           kept_rows<V>(grid) * line_floats * sizeof(float) / sizeof(Element<V>);
}

template <class V>
void transform_all(const TransformJob<Element<V>>& job) {
    using E = Element<V>;
    const FftGrid& grid = *job.grid;
    const FftPlan& plan = grid.plan;
    const size_t block_size = plan.n_row * row_size<V>;
    E* const buffer = job.scratch + most_blocks<V> * block_size;
    float* const kept =
        kept_rows<V>(grid) > 0 ? reinterpret_cast<float*>(buffer + plan.n_buffer * row_size<V>) : nullptr;
    const size_t of_block = job.kind == TransformKind::complex ? row_size<V> / 2 : row_size<V>;
    // Wide rows are read and written at the best rate, but more than this would leave the second-level cache more often
    // than that gains.
    const bool narrow = most_blocks<V> > 1 && most_blocks<V> * block_size * sizeof(E) > (size_t{2} << 20);
    const size_t width = of_block * (narrow ? most_blocks<V> / 2 : most_blocks<V>);
    for (size_t first = 0; first < job.n_series; first += width) {
        const size_t n = job.n_series - first < width ? job.n_series - first : width;
        TransformPanel<V> panel{job, plan, job.scratch, block_size, first, n, (n + of_block - 1) / of_block,
                                {},  {},   {}};
        const TransformOutput<V> out{job, kept, first, n, first + width >= job.n_series};
        if (job.kind == TransformKind::complex) {
            panel.take_complex();
            panel.clear_rows(job.n_in, plan.n);
        } else if (job.kind == TransformKind::from_real) {
            panel.take_real();
            panel.clear_rows(job.n_in, plan.n);
            panel.level(plan.n);
        } else {
            panel.take_halves();
            panel.clear_rows(job.n_in, plan.n + 1 - (job.n_in > 1 ? job.n_in : 1));
            panel.level(plan.n);
            panel.join_halves();
        }
        for (size_t b = 0; b < panel.n_block; ++b) {
            E* const block = panel.blocks + b * block_size;
            if (job.kind == TransformKind::from_real) {
                columns_from<V>(plan, block, Scaled<V>{load_row<V>(panel.scale + b * row_size<V>)});
            } else {
                transform_columns(plan, block);
            }
        }
        if (job.kind == TransformKind::from_real) {
            for (size_t i = 0; i < grid.n_bucket; ++i) {
                const FftBucket& bucket = grid.buckets[i];
                for (size_t b = 0; b < panel.n_block; ++b) {
                    E* const block = panel.blocks + b * block_size;
                    transform_group(plan, block, bucket.group, buffer);
                    if (bucket.mirror_group != bucket.group) {
                        transform_group(plan, block, bucket.mirror_group, buffer);
                    }
                }
                write_halves(panel, out, bucket);
            }
            continue;
        }
        for (size_t group = 0; group < plan.n_group; ++group) {
            for (size_t b = 0; b < panel.n_block; ++b) {
                transform_group(plan, panel.blocks + b * block_size, group, buffer);
            }
            write_group(panel, out, group);
        }
    }
    finish_writing();
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
