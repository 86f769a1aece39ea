#include "divergence_memory.hpp"

#include <algorithm>
#include <limits>

namespace starskope::detail {

std::uint32_t* DivergenceMemory::words(std::size_t n_row, std::size_t n_word) {
    if (n_row != 0 && n_word > std::numeric_limits<std::size_t>::max() / 8 / n_row) {
        throw std::bad_alloc();
    }
    const std::size_t n = n_row * n_word + 16;
    arrays_.push_back(make_scratch<std::uint32_t>(n));
    std::memset(arrays_.back().get(), 0, n * sizeof(std::uint32_t));
    return arrays_.back().get();
}

DivergenceMemory::DivergenceMemory(std::size_t n_visible, std::size_t n_hidden, std::size_t n_data, std::size_t n_model,
                                   Visible kind, const DivergenceKernels& kernels) {
    // Halves an axis of which two neighbours share a word.
    const auto along = [pairs = kernels.pairs](std::size_t n) { return pairs ? (n + 1) / 2 : n; };
    const std::size_t most = std::max(n_data, n_model), visible = whole_tiles(n_visible),
                      hidden = whole_tiles(n_hidden);
    job.gaussian = kind == Visible::gaussian;
    job.n_visible = n_visible;
    job.n_hidden = n_hidden;
    job.w_stride = job.h_stride = padded(n_hidden);
    job.v_stride = padded(n_visible);
    job.b_stride = padded(most);
    job.weights = floats(n_visible + 1, job.w_stride);
    job.w_products =
        kernels.pairs ? words(along(n_visible), job.w_stride) : reinterpret_cast<std::uint32_t*>(job.weights);
    job.visible_bias = floats(1, visible);
    job.visible_offset = floats(1, visible);
    job.hidden_bias = floats(1, hidden);
    job.hidden_offset = floats(1, hidden);
    job.data_columns = words(along(visible), job.b_stride);
    job.model_columns = words(along(visible), job.b_stride);
    job.state_columns = words(hidden, job.b_stride);
    job.state_numbers = words(n_tiles(n_hidden) * kernels.table_groups, job.b_stride);
    job.visible_rows = words(along(n_data) + along(n_model), job.v_stride);
    job.hidden_rows = words(along(n_data) + along(n_model), job.h_stride);
    job.hidden_sums = floats(most, job.h_stride);
    if (!job.gaussian) {
        job.row_words = words(along(visible), job.b_stride);
        job.row_places = words(along(visible), job.b_stride);
        job.row_counts = words(n_tiles(n_visible), job.b_stride);
        job.l_model = whole_lines(along(n_data));
        job.l_stride = padded(job.l_model + along(n_model));
        job.unit_words = words(visible, job.l_stride);
        job.unit_places = words(visible, job.l_stride);
        job.unit_counts = words(2, visible);
    }
    job.has_columns = true;
    job.has_rows = words(1, n_tiles(n_visible));
    std::fill_n(job.has_rows, n_tiles(n_visible), 1);
    job.data_visible = floats(1, visible);
    job.model_visible = floats(1, visible);
    job.data_hidden = floats(1, hidden);
    job.model_hidden = floats(1, hidden);
    job.bias_part = floats(n_tiles(n_visible), job.h_stride);
}

void DivergenceMemory::add_velocity() {
    job.velocity = floats(job.n_visible + 1, job.w_stride);
    job.visible_velocity = floats(1, whole_tiles(job.n_visible));
}

void DivergenceMemory::load_weights(View2<const float> weights) {
    for (std::size_t i = 0; i < weights.n_row; ++i) {
        copy(View1<const float>{weights.data + i * weights.stride, weights.n_col}, job.weights + i * job.w_stride);
    }
}

} // namespace starskope::detail
