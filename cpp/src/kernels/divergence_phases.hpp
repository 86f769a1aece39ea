// The phases of one update, a tile of `divergence_units` units each: the products and what is fused with them.
#pragma once

#include "divergence_layers.hpp"
#include "divergence_start.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// A product's factors and where it goes; see add_products.
struct Product {
    const uint32_t* a;
    size_t a_step;
    const uint32_t* b;
    size_t b_step;
    size_t n_step;
    float* out; // rows out_stride apart
    size_t out_stride;
    bool adds; // to what is there
};

template <class Format, int R, int C>
__attribute__((noinline)) void multiply_tile(const Product& p) {
    Floats sums[R][C];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            sums[r][c] = p.adds ? load<Floats>(p.out + size_t(r) * p.out_stride + c * lanes) : Floats{};
        }
    }
    add_products<Format>(sums, p.a, p.a_step, p.b, p.b_step, p.n_step);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            store(p.out + size_t(r) * p.out_stride + c * lanes, sums[r][c]);
        }
    }
}

// Up to tile_rows rows and tile_vectors vectors.
template <class Format>
STARSKOPE_INLINE void multiply(const Product& p, size_t n_row, size_t n_vector) {
    with_count<tile_vectors>(n_vector, [&](auto vectors) {
        with_count<tile_rows>(n_row, [&](auto rows) { multiply_tile<Format, rows.value, vectors.value>(p); });
    });
}

constexpr size_t panel = size_t(tile_vectors) * lanes;

STARSKOPE_INLINE size_t vectors_of(size_t n_unit, int most) {
    return least(size_t(most), (n_unit + lanes - 1) / lanes);
}

struct Range {
    size_t first, last;
};

STARSKOPE_INLINE Range range_of(size_t tile, size_t n) {
    return {tile * divergence_units, least((tile + 1) * divergence_units, n)};
}

template <class Format>
void gather(const DivergenceJob& job, size_t tile) {
    gather_rows<Format>(job, tile);
}

// The upward product. Lanes are hidden units, rows of a tile rows of the batch; the sum runs over the visible units, in
// stretches whose columns stay in the second-level cache.
template <class Format>
void multiply_up(const DivergenceJob& job, Range units, size_t n_batch) {
    const uint32_t* const columns = job.from_data ? job.data_columns : job.model_columns;
    const size_t n_word = words<Format>(job.n_visible);
    const size_t fit = (size_t(1) << 17) / job.b_stride, n_stretch = (n_word + fit) / (fit + 1);
    const Split rows = Split::make(n_batch, tile_rows, 1);
    for (size_t s = 0; s < n_stretch; ++s) {
        const size_t start = n_word * s / n_stretch, n = n_word * (s + 1) / n_stretch - start;
        for (size_t i = 0; i < rows.n_piece; ++i) {
            const size_t row = rows.start(i), n_row = rows.start(i + 1) - row;
            for (size_t unit = units.first; unit < units.last; unit += panel) {
                multiply<Format>({.a = columns + start * job.b_stride + row,
                                  .a_step = job.b_stride,
                                  .b = job.w_products + start * job.w_stride + unit,
                                  .b_step = job.w_stride,
                                  .n_step = n,
                                  .out = job.hidden_sums + row * job.h_stride + unit,
                                  .out_stride = job.h_stride,
                                  .adds = s > 0},
                                 n_row, vectors_of(units.last - unit, tile_vectors));
            }
        }
    }
}

// The same for visible units that are mostly zero: row by row, a tile of visible units after the other, so that the
// panel of their weights stays in the first-level cache.
template <class Format>
void multiply_up_lists(const DivergenceJob& job, Range units, size_t n_batch) {
    const size_t tile_words = words<Format>(divergence_units), n_word = words<Format>(job.n_visible);
    for (size_t unit = units.first; unit < units.last; unit += list_panel<Format>) {
        for (size_t first = 0; first < job.n_visible; first += divergence_units) {
            const size_t counts = first / divergence_units * job.b_stride;
            const size_t ahead = least(words<Format>(first + divergence_units), n_word - 1);
            multiply_lists<Format>({.words = job.row_words + counts * tile_words,
                                    .places = job.row_places + counts * tile_words,
                                    .counts = job.row_counts + counts,
                                    .stride = tile_words,
                                    .n_row = n_batch,
                                    .b = job.w_products + unit,
                                    .b_step = job.w_stride,
                                    .out = job.hidden_sums + unit,
                                    .out_stride = job.h_stride,
                                    .adds = first > 0,
                                    .ahead = job.w_products + ahead * job.w_stride + unit,
                                    .ahead_stride = job.w_stride,
                                    .n_ahead = least(tile_words, n_word - ahead)},
                                   vectors_of(units.last - unit, list_vectors<Format>));
        }
    }
}

template <class Format>
bool lists_pay(const DivergenceJob& job) {
    const size_t n_batch = job.from_data ? job.n_data : job.n_model;
    size_t n_listed = 0;
    for (size_t first = 0; first < job.n_visible && !job.gaussian; first += divergence_units) {
        n_listed += total(job.row_counts + first / divergence_units * job.b_stride, n_batch);
    }
    return !job.gaussian && lists_pay(n_listed, n_batch * words<Format>(job.n_visible));
}

// Hidden units from the visible ones: `n_tile` tiles of them, which make wider panels.
template <class Format>
void up(const DivergenceJob& job, size_t tile, size_t n_tile) {
    const Range units = {range_of(tile, job.n_hidden).first, range_of(tile + n_tile - 1, job.n_hidden).last};
    const size_t n_batch = job.from_data ? job.n_data : job.n_model;
    if (job.by_lists) {
        multiply_up_lists<Format>(job, units, n_batch);
    } else {
        multiply_up<Format>(job, units, n_batch);
    }
    for (size_t i = 0; i < n_tile && (job.keeps || job.draws); ++i) {
        finish_hidden<Format>(job, tile + i);
    }
}

// Visible units from the hidden ones. Lanes are rows of the batch, so that the weights are read as they lie; sums wait
// in the first-level cache for their states to be drawn.
template <class Format>
void down(const DivergenceJob& job, size_t tile) {
    const Range units = range_of(tile, job.n_visible);
    const Split vectors = Split::make((job.n_model + lanes - 1) / lanes, lookup_vectors, 1);
    constexpr size_t stride = size_t(lookup_vectors) * lanes;
    alignas(64) float sums[lanes * stride] = {};
    VisibleStates<Format> states(job, tile);
    for (size_t block = units.first; block < units.last; block += lanes) {
        const size_t end = least(block + lanes, units.last);
        states.begin();
        for (size_t i = 0; i < vectors.n_piece; ++i) {
            const size_t row = vectors.start(i) * lanes, n_vector = vectors.start(i + 1) - vectors.start(i);
            for (size_t unit = block; unit < end; unit += lookup_rows) {
                look_up<Format>({.weights = job.w_products + (Format::pairs ? unit / 2 : unit) * job.w_stride,
                                 .w_stride = job.w_stride,
                                 .n_hidden = job.n_hidden,
                                 .unit = unit,
                                 .numbers = job.state_numbers + row,
                                 .b_stride = job.b_stride,
                                 .out = sums + (unit - block) * stride,
                                 .out_stride = stride},
                                least(lookup_rows, end - unit), n_vector);
            }
            for (size_t v = 0; v < n_vector; ++v) {
                states.draw(sums + v * lanes, stride, block, row + v * lanes);
            }
        }
        states.end(block);
    }
}

// The weights of two visible units in bfloat16.
STARSKOPE_INLINE void store_pair(const DivergenceJob& job, size_t unit, size_t hidden, Floats even, Floats odd) {
    store_words(job.w_products + unit / 2 * job.w_stride + hidden, to_bfloat16(even) | (to_bfloat16(odd) << 16));
}

// What a tile of the update needs beside its products.
struct Ascent {
    const float* products; // (n_unit, n_vector * lanes), product_stride apart
    size_t product_stride;
    size_t unit; // even
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
            Floats gradient = load<Floats>(t.products + r * t.product_stride + c * lanes) * splat(scale);
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

// Products of the statistics of a tile of units, data and model in one sum over the rows of both, as tiles of
// registers: calls ascend for each.
template <class Format>
void update_weights(const DivergenceJob& job, Range units, Ascent ascent) {
    const size_t n_row = words<Format>(job.n_data) + words<Format>(job.n_model);
    // Weights of an odd last unit share words with a row of zeros below them.
    const size_t n_unit = units.last - units.first;
    const Split pieces = Split::make(Format::pairs ? n_unit + n_unit % 2 : n_unit, tile_rows, 2);
    alignas(64) float products[size_t(tile_rows) * panel];
    const float* const visible_step = ascent.visible_step;
    Floats* const along_offset = ascent.along_offset;
    ascent.products = products;
    ascent.product_stride = panel;
    for (size_t hidden = 0; hidden < job.n_hidden; hidden += panel) {
        ascent.hidden = hidden;
        ascent.n_vector = vectors_of(job.n_hidden - hidden, tile_vectors);
        for (size_t i = 0; i < pieces.n_piece; ++i) {
            const size_t first = pieces.start(i);
            ascent.unit = units.first + first;
            ascent.n_unit = pieces.start(i + 1) - first;
            ascent.visible_step = visible_step + first;
            ascent.along_offset = along_offset + first;
            multiply<Format>({.a = job.visible_rows + ascent.unit,
                              .a_step = job.v_stride,
                              .b = job.hidden_rows + hidden,
                              .b_step = job.h_stride,
                              .n_step = n_row,
                              .out = products,
                              .out_stride = panel,
                              .adds = false},
                             ascent.n_unit, ascent.n_vector);
            ascend<Format>(job, ascent);
        }
    }
}

// The same for units that are mostly zero: all rows of the data, then all of the model, so that the panel of their
// probabilities stays in the first-level cache.
template <class Format>
void update_weights_lists(const DivergenceJob& job, Range units, Ascent ascent) {
    alignas(64) float products[divergence_units * list_panel<Format>];
    const size_t n_unit = units.last - units.first;
    ascent.products = products;
    ascent.product_stride = list_panel<Format>;
    ascent.unit = units.first;
    ascent.n_unit = Format::pairs ? n_unit + n_unit % 2 : n_unit;
    for (size_t hidden = 0; hidden < job.n_hidden; hidden += list_panel<Format>) {
        ascent.hidden = hidden;
        ascent.n_vector = vectors_of(job.n_hidden - hidden, list_vectors<Format>);
        for (int side = 0; side < 2; ++side) {
            const bool of_model = side == 1;
            const size_t at = units.first * job.l_stride + (of_model ? job.l_model : 0);
            const uint32_t* const ahead =
                of_model ? reinterpret_cast<const uint32_t*>(job.weights) + units.first * job.w_stride
                         : job.w_products + words<Format>(units.first) * job.w_stride;
            multiply_lists<Format>({.words = job.unit_words + at,
                                    .places = job.unit_places + at,
                                    .counts = unit_counts(job, of_model) + units.first,
                                    .stride = job.l_stride,
                                    .n_row = ascent.n_unit,
                                    .b = job.hidden_rows + hidden,
                                    .b_step = job.h_stride,
                                    .out = products,
                                    .out_stride = list_panel<Format>,
                                    .adds = of_model,
                                    .ahead = ahead + hidden,
                                    .ahead_stride = job.w_stride,
                                    .n_ahead = of_model || !Format::pairs ? n_unit : words<Format>(n_unit)},
                                   ascent.n_vector);
        }
        ascend<Format>(job, ascent);
    }
}

// The statistics of data and model, and the step of the weights and visible biases.
template <class Format>
void update(const DivergenceJob& job, size_t tile) {
    const Range units = range_of(tile, job.n_visible);
    const size_t n_unit = units.last - units.first;
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
    Ascent ascent{};
    ascent.visible_step = visible_step;
    ascent.along_offset = along_offset;
    ascent.bias_part = bias_part;
    const size_t n_listed = job.gaussian ? 0
                                         : total(unit_counts(job, false) + units.first, n_unit) +
                                               total(unit_counts(job, true) + units.first, n_unit);
    const size_t n_row = words<Format>(job.n_data) + words<Format>(job.n_model);
    const bool lists = !job.gaussian && lists_pay(n_listed, n_unit * n_row);
    if (lists || job.has_rows[tile] == 0) {
        update_weights_lists<Format>(job, units, ascent);
    } else {
        update_weights<Format>(job, units, ascent);
    }
    job.has_rows[tile] = lists ? 0 : 1;
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

void number_states(const DivergenceJob& job, size_t tile) {
    number_tile(job, tile, job.n_model);
}

template <class Format>
constexpr DivergenceKernels divergence_kernels() {
    return {.gather = gather<Format>,
            .up = up<Format>,
            .down = down<Format>,
            .update = update<Format>,
            .lists_pay = lists_pay<Format>,
            .round_weights = round_weights<Format>,
            .number_states = number_states,
            .describe_rows = describe_rows,
            .draw_normal = draw_normal,
            .n_normal_rows = lanes,
            .pairs = Format::pairs,
            .table_groups = table_groups};
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
