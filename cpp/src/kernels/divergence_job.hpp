// What the kernels of contrastive divergence are told: one update of a restricted Boltzmann machine, cut into phases
// and these into tiles that anybody may compute in any order.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace starskope::detail {

// Products work on words of four bytes: a float32, or two bfloat16 that are neighbours along the axis summed over (the
// first in the lower half). Sizes of "words along an axis" are then half of the units, rounded up. All strides are in
// words or floats and put rows on cache lines, an odd number of them apart. Padding holds zeros where it is read.
struct DivergenceJob {
    size_t n_visible;
    size_t n_hidden;
    size_t n_data;  // rows of data in this batch
    size_t n_model; // rows of the model: as many, or the persistent chains
    size_t w_stride;
    size_t v_stride;
    size_t h_stride;
    size_t b_stride; // of arrays whose rows hold one unit of every row of the batch

    float* weights;       // (n_visible + 1, w_stride)
    uint32_t* w_products; // words along n_visible: (n_visible, w_stride) or, in pairs, half as many rows
    float* velocity;      // (n_visible + 1, w_stride), or null without momentum
    float* visible_bias;
    float* hidden_bias;
    float* visible_velocity; // null without momentum
    float* visible_offset;
    float* hidden_offset;

    // The batch. `row` holds places of its rows in `data`, whose rows lie data_stride apart.
    const float* data;
    size_t data_stride;
    const int64_t* row;

    uint32_t* data_columns;  // words along n_visible: (n_visible, b_stride) or half as many rows
    uint32_t* model_columns; // the same of the model
    uint32_t* visible_rows;  // words along the batch, data above model: (rows, v_stride)
    uint32_t* hidden_rows;   // the same of the probabilities, those of the model negative: (rows, h_stride)
    uint32_t* state_columns; // drawn hidden states, float32 zeros and ones: (n_hidden, b_stride)
    uint32_t* state_numbers; // the same, several units a number: (n_tiles(n_hidden) * table_groups, b_stride)
    float* hidden_sums;      // (batch, h_stride)

    // Words of the visible units that are not zero, and where these stand along the axis summed over. Null if Gaussian.
    uint32_t* row_words; // of a row of the batch and a tile of units: (n_tiles(n_visible), b_stride, words of a tile)
    uint32_t* row_places;
    uint32_t* row_counts; // (n_tiles(n_visible), b_stride)
    uint32_t* unit_words; // of a unit, those of the model from l_model on: (n_visible, l_stride)
    uint32_t* unit_places;
    uint32_t* unit_counts; // data, then model: (2, n_visible in whole tiles)
    size_t l_stride;
    size_t l_model;
    // Whether columns, and rows of a tile of visible units (n_tiles), are written beside lists: where those of the last
    // batch did not pay. Both give the same sums.
    bool has_columns;
    uint32_t* has_rows;

    float* data_visible; // sums over the batch, (n_visible)
    float* model_visible;
    float* data_hidden;  // (n_hidden)
    float* model_hidden; // scaled like the rows: minus n_data / n_model times the sum
    float* bias_part;    // (tiles of the update, h_stride): what centring takes off the gradient of the hidden biases

    uint32_t key[2];
    uint32_t epoch;
    uint32_t batch;
    uint32_t draw;      // of this phase
    uint32_t first_row; // of row 0, for the draws

    bool gaussian;
    bool centered;
    bool starts_offset; // the hidden offsets begin with this batch
    bool from_data;     // up: from the data, else from the model
    bool by_lists;      // up: with lists, else with columns
    bool keeps;         // up: leave probabilities for the update; down: leave rows for it
    bool draws;         // up: draw states
    float offset_rate;
    float rate;
    float decay; // rate * weight decay
    float momentum;
};

// Phases in their order: gather, up, then down and up as often as k, update. Tiles of a phase write to different
// places.
struct DivergenceKernels {
    void (*gather)(const DivergenceJob& job, size_t tile);
    void (*up)(const DivergenceJob& job, size_t tile, size_t n_tile);
    void (*down)(const DivergenceJob& job, size_t tile);
    void (*update)(const DivergenceJob& job, size_t tile);
    bool (*lists_pay)(const DivergenceJob& job);                  // for the next `up`
    void (*round_weights)(const DivergenceJob& job);              // makes w_products from the weights
    void (*number_states)(const DivergenceJob& job, size_t tile); // makes state_numbers from state_columns
    void (*describe_rows)(const float* rows, size_t stride, size_t n_row, size_t n_col, double* sums, float* range);
    void (*draw_normal)(const DivergenceJob& job, float deviation, size_t n_row, float* out, size_t stride);
    size_t n_normal_rows; // that draw_normal makes at a time, at most
    bool pairs;           // words are two bfloat16
    size_t table_groups;  // numbers that tell the states of a tile of units
};

inline constexpr size_t divergence_units = 64; // units per tile of a phase, visible or hidden

} // namespace starskope::detail
