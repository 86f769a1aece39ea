// The phases of one update, a tile of `divergence_units` units each: the products and what is fused with them.
#pragma once

#include "divergence_layers.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// A product's factors and where it goes; see add_products.
struct Product {
    const uint32_t* a;
    size_t a_row;
    size_t a_step;
    const uint32_t* b;
    size_t b_step;
    size_t n_step;
    const uint32_t* list;
    float* out; // rows out_stride apart
    size_t out_stride;
    bool adds; // to what is there
};

template <class Format, bool side_by_side, int R, int C>
__attribute__((noinline)) void multiply_tile(const Product& p) {
    Floats sums[R][C];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            sums[r][c] = Floats{};
        }
    }
    add_products<Format, side_by_side>(sums, p.a, p.a_row, p.a_step, p.b, p.b_step, p.n_step, p.list);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            float* const out = p.out + size_t(r) * p.out_stride + c * lanes;
            store(out, p.adds ? load<Floats>(out) + sums[r][c] : sums[r][c]);
        }
    }
}

// Up to tile_rows rows and tile_vectors vectors.
template <class Format, bool side_by_side>
STARSKOPE_INLINE void multiply(const Product& p, size_t n_row, size_t n_vector) {
    with_count<tile_vectors>(n_vector, [&](auto vectors) {
        with_count<tile_rows>(n_row,
                              [&](auto rows) { multiply_tile<Format, side_by_side, rows.value, vectors.value>(p); });
    });
}

constexpr size_t panel = size_t(tile_vectors) * lanes;

STARSKOPE_INLINE size_t vectors_of(size_t n_unit) {
    return least(tile_vectors, (n_unit + lanes - 1) / lanes);
}

struct Range {
    size_t first, last;
};

STARSKOPE_INLINE Range range_of(size_t tile, size_t n) {
    return {tile * divergence_units, least((tile + 1) * divergence_units, n)};
}

constexpr size_t most_pieces = (divergence_units + tile_rows - 1) / tile_rows + 1;

template <class Format>
size_t scratch_words(const DivergenceJob& job) {
    const size_t rows = words<Format>(job.n_data) + words<Format>(job.n_model);
    const size_t update = most_pieces * rows, up = words<Format>(job.n_visible);
    return update > up ? update : up;
}

template <class Format>
void gather(const DivergenceJob& job, size_t tile) {
    const Range units = range_of(tile, job.n_visible);
    gather_rows<Format>(job, units.first, units.last);
}

// Hidden units from the visible ones. Lanes are hidden units, rows of a tile rows of the batch; the sum runs over the
// visible units, in stretches whose columns stay in the second-level cache. Units that are zero in all rows of a tile
// add nothing and are left out: of binary ones these are many, at the edge of an image for example.
template <class Format>
void up(const DivergenceJob& job, size_t tile, uint32_t* scratch) {
    const Range units = range_of(tile, job.n_hidden);
    const uint32_t* const columns = job.from_data ? job.data_columns : job.model_columns;
    const size_t n_batch = job.from_data ? job.n_data : job.n_model, n_word = words<Format>(job.n_visible);
    const size_t fit = (size_t(1) << 17) / job.b_stride, n_stretch = (n_word + fit) / (fit + 1);
    const Split rows = Split::make(n_batch, tile_rows, 1);
    for (size_t s = 0; s < n_stretch; ++s) {
        const size_t start = n_word * s / n_stretch, n = n_word * (s + 1) / n_stretch - start;
        for (size_t i = 0; i < rows.n_piece; ++i) {
            const size_t row = rows.start(i), n_row = rows.start(i + 1) - row;
            const uint32_t* const a = columns + start * job.b_stride + row;
            const size_t n_listed = job.gaussian ? n : list_steps(a, job.b_stride, n_row, n, scratch);
            for (size_t unit = units.first; unit < units.last; unit += panel) {
                multiply<Format, true>({.a = a,
                                        .a_row = 1,
                                        .a_step = job.b_stride,
                                        .b = job.w_up + start * job.w_stride + unit,
                                        .b_step = job.w_stride,
                                        .n_step = n_listed,
                                        .list = job.gaussian ? nullptr : scratch,
                                        .out = job.hidden_sums + row * job.h_stride + unit,
                                        .out_stride = job.h_stride,
                                        .adds = s > 0},
                                       n_row, vectors_of(units.last - unit));
            }
        }
    }
    if (job.keeps || job.draws) {
        finish_hidden<Format>(job, units.first, units.last);
    }
}

// Visible units from the hidden ones. Lanes are rows of the batch, so that the weights are read as they lie.
template <class Format>
void down(const DivergenceJob& job, size_t tile) {
    const Range units = range_of(tile, job.n_visible);
    const Split pieces = Split::make(units.last - units.first, tile_rows, 1);
    for (size_t row = 0; row < job.n_model; row += panel) {
        for (size_t i = 0; i < pieces.n_piece; ++i) {
            const size_t unit = units.first + pieces.start(i);
            multiply<Format, false>({.a = job.w_down + unit * job.down_stride,
                                     .a_row = job.down_stride,
                                     .a_step = 1,
                                     .b = job.state_columns + row,
                                     .b_step = job.b_stride,
                                     .n_step = words<Format>(job.n_hidden),
                                     .list = nullptr,
                                     .out = job.visible_sums + unit * job.b_stride + row,
                                     .out_stride = job.b_stride,
                                     .adds = false},
                                    pieces.start(i + 1) - pieces.start(i), vectors_of(job.n_model - row));
        }
    }
    finish_visible<Format>(job, units.first, units.last);
}

typedef uint16_t HalfWords __attribute__((vector_size(2 * lanes)));

STARSKOPE_INLINE void store_down(const DivergenceJob& job, size_t unit, size_t hidden, UInts halves) {
    const HalfWords packed = __builtin_convertvector(halves, HalfWords);
    uint32_t* const out = job.w_down + unit * job.down_stride + hidden / 2;
    __builtin_memcpy(out, &packed, sizeof packed);
}

// Both layouts of the weights of two visible units in bfloat16.
STARSKOPE_INLINE void store_pair(const DivergenceJob& job, size_t unit, size_t hidden, Floats even, Floats odd) {
    const UInts first = to_bfloat16(even), second = to_bfloat16(odd);
    store_down(job, unit, hidden, first);
    store_down(job, unit + 1, hidden, second);
    store_words(job.w_up + unit / 2 * job.w_stride + hidden, first | (second << 16));
}

// What one tile of registers of the update needs beside its products.
struct Ascent {
    const float* products; // (n_unit, panel)
    size_t unit;           // even
    size_t n_unit;
    size_t hidden;
    size_t n_vector;
    const float* visible_step; // of `unit` and on: mean of data less mean of model
    Floats* along_offset;      // of `unit` and on: gradient times hidden offset, summed into
    float* bias_part;          // visible offset times gradient, summed into
};

// Turns products into the gradient, moves weights and velocities along it. About the offsets mu and lambda of the units
// the centred statistics are <v h> - mu <h> - <v> lambda, differences of data and model each: products stay as they
// are.
template <class Format>
__attribute__((noinline)) void ascend(const DivergenceJob& job, const Ascent& t) {
    const float scale = 1.0f / float(job.n_data);
    for (size_t c = 0; c < t.n_vector; ++c) {
        const size_t hidden = t.hidden + c * lanes;
        const Floats hidden_step =
            (load<Floats>(job.data_hidden + hidden) + load<Floats>(job.model_hidden + hidden)) * splat(scale);
        const Floats hidden_offset = load<Floats>(job.hidden_offset + hidden);
        Floats part = load<Floats>(t.bias_part + hidden), even = {};
        for (size_t r = 0; r < t.n_unit; ++r) {
            const size_t unit = t.unit + r;
            Floats gradient = load<Floats>(t.products + r * panel + c * lanes) * splat(scale);
            if (job.centered) {
                const Floats offset = splat(job.visible_offset[unit]);
                gradient -= offset * hidden_step + splat(t.visible_step[r]) * hidden_offset;
                t.along_offset[r] = multiply_add(gradient, hidden_offset, t.along_offset[r]);
                part = multiply_add(offset, gradient, part);
            }
            float* const weights = job.weights + unit * job.w_stride + hidden;
            Floats w = load<Floats>(weights);
            Floats change = splat(job.rate) * gradient - splat(job.decay) * w;
            if (job.velocity != nullptr) {
                float* const velocity = job.velocity + unit * job.w_stride + hidden;
                change = multiply_add(splat(job.momentum), load<Floats>(velocity), change);
                store(velocity, change);
            }
            w += change;
            store(weights, w);
            if constexpr (Format::pairs) {
                if (r % 2 == 0) {
                    even = w;
                } else {
                    store_pair(job, unit - 1, hidden, even, w);
                }
            }
        }
        store(t.bias_part + hidden, part);
    }
}

// The statistics of data and model in one sum over the rows of both, and the step of the weights and visible biases.
template <class Format>
void update(const DivergenceJob& job, size_t tile, uint32_t* scratch) {
    const Range units = range_of(tile, job.n_visible);
    const size_t n_row = words<Format>(job.n_data) + words<Format>(job.n_model);
    // Weights of an odd last unit share words with a row of zeros below them.
    const size_t n_unit = units.last - units.first;
    const Split pieces = Split::make(Format::pairs ? n_unit + n_unit % 2 : n_unit, tile_rows, 2);
    size_t n_listed[most_pieces];
    const bool lists = !job.gaussian;
    for (size_t i = 0; i < pieces.n_piece && lists; ++i) {
        const size_t first = pieces.start(i);
        n_listed[i] = list_steps(job.visible_rows + units.first + first, job.v_stride, pieces.start(i + 1) - first,
                                 n_row, scratch + i * n_row);
    }
    float visible_step[divergence_units];
    Floats along_offset[divergence_units];
    for (size_t i = 0; i < divergence_units; ++i) {
        along_offset[i] = Floats{};
        visible_step[i] = job.data_visible[units.first + i] / float(job.n_data) -
                          job.model_visible[units.first + i] / float(job.n_model);
    }
    float* const bias_part = job.bias_part + tile * job.h_stride;
    for (size_t hidden = 0; hidden < job.n_hidden; hidden += lanes) {
        store(bias_part + hidden, Floats{});
    }
    alignas(64) float products[size_t(tile_rows) * panel];
    for (size_t hidden = 0; hidden < job.n_hidden; hidden += panel) {
        const size_t n_vector = vectors_of(job.n_hidden - hidden);
        for (size_t i = 0; i < pieces.n_piece; ++i) {
            const size_t first = pieces.start(i), n_some = pieces.start(i + 1) - first;
            multiply<Format, true>({.a = job.visible_rows + units.first + first,
                                    .a_row = 1,
                                    .a_step = job.v_stride,
                                    .b = job.hidden_rows + hidden,
                                    .b_step = job.h_stride,
                                    .n_step = lists ? n_listed[i] : n_row,
                                    .list = lists ? scratch + i * n_row : nullptr,
                                    .out = products,
                                    .out_stride = panel,
                                    .adds = false},
                                   n_some, n_vector);
            ascend<Format>(job, {.products = products,
                                 .unit = units.first + first,
                                 .n_unit = n_some,
                                 .hidden = hidden,
                                 .n_vector = n_vector,
                                 .visible_step = visible_step + first,
                                 .along_offset = along_offset + first,
                                 .bias_part = bias_part});
        }
    }
    for (size_t i = 0; i < n_unit; ++i) {
        float step = visible_step[i];
        for (int lane = 0; lane < lanes && job.centered; ++lane) {
            step -= along_offset[i][lane];
        }
        step *= job.rate;
        const size_t unit = units.first + i;
        if (job.visible_velocity != nullptr) {
            job.visible_velocity[unit] = step = job.momentum * job.visible_velocity[unit] + step;
        }
        job.visible_bias[unit] += step;
    }
}

template <class Format>
void round_weights(const DivergenceJob& job) {
    if constexpr (Format::pairs) {
        for (size_t unit = 0; unit < job.n_visible; unit += 2) {
            for (size_t hidden = 0; hidden < job.n_hidden; hidden += lanes) {
                const float* const w = job.weights + unit * job.w_stride + hidden;
                store_pair(job, unit, hidden, load<Floats>(w), load<Floats>(w + job.w_stride));
            }
        }
    } else {
        (void)job; // they are the weights
    }
}

template <class Format>
constexpr DivergenceKernels divergence_kernels() {
    return {.scratch = scratch_words<Format>,
            .gather = gather<Format>,
            .up = up<Format>,
            .down = down<Format>,
            .update = update<Format>,
            .round_weights = round_weights<Format>,
            .pairs = Format::pairs};
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
