// What follows the columns of a transform: groups of rows, or convolutions where their length is a large prime.
#pragma once

#include "fft_stages.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// The order of the rows to natural order; `first_turn` (n, length), by row, multiplies what goes in unless it is null.
template <class V>
void backward_stages(const FftTile& tile, Element<V>* block, const FftLines& lines, const Element<V>* first_turn) {
    for (int s = tile.n_stage; s-- > 0;) {
        const FftStage& passes = tile.stage[s];
        if (passes.inner > 1) {
            run<Order::backward, Twiddles::butterflies, V>(passes, block, lines, entries<V>(passes.twiddle),
                                                           InPlace<V>{});
        } else if (first_turn != nullptr) {
            run<Order::backward, Twiddles::rows, V>(passes, block, lines, first_turn, InPlace<V>{});
        } else {
            run<Order::backward, Twiddles::none, V>(passes, block, lines, nullptr, InPlace<V>{});
        }
    }
}

// Convolves rows in place. `meet` is called with the row of the sum of all samples, times its element of the kernel.
template <class V, class Meet>
void convolve(const FftConvolution& convolution, Element<V>* block, const Meet& meet) {
    const FftSplit& split = convolution.split;
    const size_t n_group = split.columns.length, length = split.rows.length;
    for_columns<V>(split, [&](const FftLines& lines, const Element<V>* last) {
        forward_stages(split.columns, 0, block, lines, last);
    });
    for (size_t group = 0; group < n_group; ++group) {
        const uint32_t first = uint32_t(group * split.stride);
        const FftLines rows{&first, 1, 1};
        forward_stages(split.rows, 0, block, rows, entries<V>(convolution.kernel) + 2 * group * length);
        if (group == 0) {
            meet(block);
        }
        backward_stages<V>(split.rows, block, rows, nullptr);
    }
    for_columns<V>(split, [&](const FftLines& lines, const Element<V>* last) {
        backward_stages<V>(split.columns, block, lines, last);
    });
}

// One group of a block whose columns were transformed: the second half of its transform. buffer: plan.n_buffer rows.
template <class V>
void group_of(const FftPlan& plan, Element<V>* block, size_t group, Element<V>* buffer) {
    Element<V>* const rows = block + group * plan.group_rows * row_size<V>;
    if (plan.groups == FftGroups::smooth) {
        constexpr uint32_t first = 0;
        forward_stages(plan.split.rows, 0, rows, {&first, 1, 1}, nullptr);
        return;
    }
    const FftConvolution& convolution = plan.convolution;
    if (plan.groups == FftGroups::rader) {
        const Complex<V> x0 = load_row<V>(rows);
        const V length = broadcast<V>(Element<V>(convolution.length));
        convolve<V>(convolution, rows + row_size<V>, [&](Element<V>* row) __attribute__((always_inline)) {
            // The kernel's first element is -1 / length; what is added here, every element gets.
            const Complex<V> part = load_row<V>(row);
            store_row<V>(rows, {x0.re - length * part.re, x0.im - length * part.im});
            store_row<V>(row, part + x0);
        });
        return;
    }
    const size_t n = plan.split.n_column;
    const Element<V>* const chirp = entries<V>(plan.chirp);
    for (size_t i = 0; i < plan.n_buffer * row_size<V>; ++i) {
        buffer[i] = 0;
    }
    for (size_t j = 0; j < n; ++j) {
        store_row<V>(buffer + plan.buffered[j] * row_size<V>,
                     multiplied(load_row<V>(rows + j * row_size<V>), chirp + 2 * j));
    }
    convolve<V>(convolution, buffer, [](Element<V>*) {});
    for (size_t k = 0; k < n; ++k) {
        store_row<V>(rows + k * row_size<V>,
                     multiplied(load_row<V>(buffer + plan.returned[k] * row_size<V>), chirp + 2 * k));
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
