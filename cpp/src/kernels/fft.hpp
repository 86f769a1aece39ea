// Fourier transforms of blocks of rows, in place, as their plan says. A row is one complex number per lane: a vector of
// real parts, then one of imaginary parts. Every lane is transformed alone, so what is in others changes no bit of it.
#pragma once

#include "butterflies.hpp"
#include "fft_plan.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

template <class V>
constexpr size_t row_size = 2 * size_t(LaneTraits<V>::lanes); // elements

template <class V>
STARSKOPE_INLINE V load_vector(const Element<V>* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

template <class V>
STARSKOPE_INLINE Complex<V> load_row(const Element<V>* row) {
    return {load_vector<V>(row), load_vector<V>(row + LaneTraits<V>::lanes)};
}

template <class V>
STARSKOPE_INLINE void store_row(Element<V>* row, Complex<V> x) {
    __builtin_memcpy(row, &x.re, sizeof x.re);
    __builtin_memcpy(row + LaneTraits<V>::lanes, &x.im, sizeof x.im);
}

template <class V>
STARSKOPE_INLINE const Element<V>* entries(const FftTable& table) {
    if constexpr (sizeof(Element<V>) == 4) {
        return table.single;
    } else {
        return table.wide;
    }
}

// Where the first butterflies of a transform take their rows from: from where they stand.
template <class V>
struct InPlace {
    STARSKOPE_INLINE Complex<V> load(const Element<V>* block, size_t row) {
        return load_row<V>(block + row * row_size<V>);
    }
    Complex<V> operator()(const Element<V>* block, size_t row) const { return load(block, row); }
};

// From another block of the same shape, each row turned by its phase.
template <class V>
struct Turned {
    const Element<V>* source;
    const Element<V>* phase; // (n_row,) complex
    Complex<V> operator()(const Element<V>*, size_t row) const {
        return multiplied(load_row<V>(source + row * row_size<V>), phase + 2 * row);
    }
};

enum class Order { forward, backward };
// Twiddles of a stage: by butterfly and from the second element on, by row, or none.
enum class Twiddles { none, butterflies, rows };

// One stage on the rows first + step * i of a block. Forward: butterflies, then twiddles; backward: the reverse.
template <int radix, Order order, Twiddles twiddles, class V, class Source>
void run_stage(const FftStage& stage, Element<V>* block, size_t first, size_t step, const Element<V>* twiddle,
               const Source& source) {
    const size_t outer = stage.outer, inner = stage.inner, apart = inner * step;
    for (size_t o = 0; o < outer; ++o) {
        const Element<V>* w = twiddles == Twiddles::rows ? twiddle + o * 2 * radix : twiddle;
        for (size_t t = 0; t < inner; ++t) {
            const size_t row = first + (o * radix * inner + t) * step;
            Complex<V> x[radix];
#pragma GCC unroll 16
            for (int i = 0; i < radix; ++i) {
                x[i] = source(block, row + size_t(i) * apart);
                if constexpr (order == Order::backward && twiddles == Twiddles::rows) {
                    x[i] = multiplied(x[i], w + 2 * i);
                } else if constexpr (order == Order::backward && twiddles == Twiddles::butterflies) {
                    x[i] = i == 0 ? x[i] : multiplied(x[i], w + 2 * (i - 1));
                }
            }
            butterfly(x);
#pragma GCC unroll 16
            for (int i = 0; i < radix; ++i) {
                if constexpr (order == Order::forward && twiddles == Twiddles::rows) {
                    x[i] = multiplied(x[i], w + 2 * i);
                } else if constexpr (order == Order::forward && twiddles == Twiddles::butterflies) {
                    x[i] = i == 0 ? x[i] : multiplied(x[i], w + 2 * (i - 1));
                }
                store_row<V>(block + (row + size_t(i) * apart) * row_size<V>, x[i]);
            }
            if constexpr (twiddles == Twiddles::butterflies) {
                w += 2 * (radix - 1);
            }
        }
    }
}

constexpr int largest_prime_radix = 61;

// The same for an odd prime without a butterfly of its own: sums of cosines and sines, four elements at a time.
template <Order order, Twiddles twiddles, class V, class Source>
void run_prime_stage(const FftStage& stage, Element<V>* block, size_t first, size_t step, const Element<V>* twiddle,
                     const Source& source) {
    const int radix = int(stage.radix), n = (radix - 1) / 2;
    const size_t outer = stage.outer, inner = stage.inner, apart = inner * step;
    const Element<V>* const roots = entries<V>(stage.roots);
    Complex<V> sum[largest_prime_radix / 2], difference[largest_prime_radix / 2];
    for (size_t o = 0; o < outer; ++o) {
        const Element<V>* w = twiddles == Twiddles::rows ? twiddle + o * 2 * size_t(radix) : twiddle;
        for (size_t t = 0; t < inner; ++t) {
            const size_t row = first + (o * size_t(radix) * inner + t) * step;
            const auto take = [&](int i) __attribute__((always_inline)) {
                Complex<V> x = source(block, row + size_t(i) * apart);
                if constexpr (order == Order::backward && twiddles == Twiddles::rows) {
                    x = multiplied(x, w + 2 * i);
                } else if constexpr (order == Order::backward && twiddles == Twiddles::butterflies) {
                    x = i == 0 ? x : multiplied(x, w + 2 * (i - 1));
                }
                return x;
            };
            const auto give = [&](int i, Complex<V> x) __attribute__((always_inline)) {
                if constexpr (order == Order::forward && twiddles == Twiddles::rows) {
                    x = multiplied(x, w + 2 * i);
                } else if constexpr (order == Order::forward && twiddles == Twiddles::butterflies) {
                    x = i == 0 ? x : multiplied(x, w + 2 * (i - 1));
                }
                store_row<V>(block + (row + size_t(i) * apart) * row_size<V>, x);
            };
            const Complex<V> x0 = take(0);
            Complex<V> total = x0;
            for (int i = 1; i <= n; ++i) {
                const Complex<V> a = take(i), b = take(radix - i);
                sum[i - 1] = a + b;
                difference[i - 1] = a - b;
                total = total + sum[i - 1];
            }
            give(0, total);
            constexpr int at_once = 4;
            for (int k = 1; k <= n; k += at_once) {
                Complex<V> even[at_once], odd[at_once];
                int j[at_once];
                for (int m = 0; m < at_once; ++m) {
                    even[m] = x0;
                    odd[m] = {V{}, V{}};
                    j[m] = 0;
                }
                for (int i = 0; i < n; ++i) {
#pragma GCC unroll 4
                    for (int m = 0; m < at_once; ++m) {
                        j[m] += k + m;
                        j[m] -= j[m] >= radix ? radix : 0;
                        const V c = broadcast<V>(roots[2 * j[m]]), s = broadcast<V>(roots[2 * j[m] + 1]);
                        even[m] = {multiply_add(c, sum[i].re, even[m].re), multiply_add(c, sum[i].im, even[m].im)};
                        odd[m] = {multiply_add(s, difference[i].re, odd[m].re),
                                  multiply_add(s, difference[i].im, odd[m].im)};
                    }
                }
                for (int m = 0; m < at_once && k + m <= n; ++m) {
                    give(k + m, {even[m].re - odd[m].im, even[m].im + odd[m].re}); // roots hold -sin
                    give(radix - k - m, {even[m].re + odd[m].im, even[m].im - odd[m].re});
                }
            }
            if constexpr (twiddles == Twiddles::butterflies) {
                w += 2 * (radix - 1);
            }
        }
    }
}

template <Order order, Twiddles twiddles, class V, class Source>
void run(const FftStage& stage, Element<V>* block, size_t first, size_t step, const Element<V>* twiddle,
         const Source& source) {
    switch (stage.radix) {
#define STARSKOPE_RADIX(r)                                                                                             \
    case r:                                                                                                            \
        return run_stage<r, order, twiddles, V>(stage, block, first, step, twiddle, source);
        STARSKOPE_RADIX(1)
        STARSKOPE_RADIX(2)
        STARSKOPE_RADIX(3)
        STARSKOPE_RADIX(4)
        STARSKOPE_RADIX(5)
        STARSKOPE_RADIX(7)
        STARSKOPE_RADIX(8)
#undef STARSKOPE_RADIX
    default:
        return run_prime_stage<order, twiddles, V>(stage, block, first, step, twiddle, source);
    }
}

// Natural order to that of the rows; `last` (length,), by row, multiplies what comes out unless it is null.
template <class V, class Source>
void forward_tile(const FftTile& tile, Element<V>* block, size_t first, size_t step, const Element<V>* last,
                  const Source& source) {
    const auto stage = [&](int s, const auto& from) {
        const FftStage& passes = tile.stage[s];
        if (passes.inner > 1) {
            run<Order::forward, Twiddles::butterflies, V>(passes, block, first, step, entries<V>(passes.twiddle), from);
        } else if (last != nullptr) {
            run<Order::forward, Twiddles::rows, V>(passes, block, first, step, last, from);
        } else {
            run<Order::forward, Twiddles::none, V>(passes, block, first, step, nullptr, from);
        }
    };
    if (tile.n_stage > 0) {
        stage(0, source);
    }
    for (int s = 1; s < tile.n_stage; ++s) {
        stage(s, InPlace<V>{});
    }
}

// The order of the rows to natural order; `first_turn` (length,), by row, multiplies what goes in unless it is null.
template <class V>
void backward_tile(const FftTile& tile, Element<V>* block, size_t first, size_t step, const Element<V>* first_turn) {
    for (int s = tile.n_stage; s-- > 0;) {
        const FftStage& passes = tile.stage[s];
        if (passes.inner > 1) {
            run<Order::backward, Twiddles::butterflies, V>(passes, block, first, step, entries<V>(passes.twiddle),
                                                           InPlace<V>{});
        } else if (first_turn != nullptr) {
            run<Order::backward, Twiddles::rows, V>(passes, block, first, step, first_turn, InPlace<V>{});
        } else {
            run<Order::backward, Twiddles::none, V>(passes, block, first, step, nullptr, InPlace<V>{});
        }
    }
}

template <class V>
STARSKOPE_INLINE const Element<V>* twiddles_of(const FftSplit& split, size_t column) {
    const Element<V>* const all = entries<V>(split.twiddle);
    return all == nullptr ? nullptr : all + 2 * column * split.columns.length;
}

// All columns of a block, the first half of its transform. `source` gives the rows; `after` is called after each
// column.
template <class V, class Source>
void transform_columns(const FftPlan& plan, Element<V>* block, const Source& source) {
    for (size_t column = 0; column < plan.n_column; ++column) {
        forward_tile<V>(plan.split.columns, block, plan.columns[column], plan.split.stride,
                        twiddles_of<V>(plan.split, column), source);
    }
}

// Convolves rows in place. `meet` is called with the row of the sum of all samples, times its element of the kernel.
template <class V, class Meet>
void convolve(const FftConvolution& convolution, Element<V>* block, const Meet& meet) {
    const FftSplit& split = convolution.split;
    const size_t n_group = split.columns.length, n_column = split.rows.length;
    for (size_t column = 0; column < n_column && n_group > 1; ++column) {
        forward_tile<V>(split.columns, block, column, split.stride, twiddles_of<V>(split, column), InPlace<V>{});
    }
    for (size_t group = 0; group < n_group; ++group) {
        const size_t first = group * split.stride;
        const Element<V>* const kernel = entries<V>(convolution.kernel) + 2 * group * n_column;
        forward_tile<V>(split.rows, block, first, 1, kernel, InPlace<V>{});
        if (group == 0) {
            meet(block);
        }
        backward_tile<V>(split.rows, block, first, 1, nullptr);
    }
    for (size_t column = 0; column < n_column && n_group > 1; ++column) {
        backward_tile<V>(split.columns, block, column, split.stride, twiddles_of<V>(split, column));
    }
}

// One group of a block whose columns were transformed: the second half of its transform. buffer: plan.n_buffer rows.
template <class V>
void transform_group(const FftPlan& plan, Element<V>* block, size_t group, Element<V>* buffer) {
    Element<V>* const rows = block + group * plan.group_rows * row_size<V>;
    if (plan.groups == FftGroups::smooth) {
        forward_tile<V>(plan.split.rows, rows, 0, 1, nullptr, InPlace<V>{});
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
    const size_t n = plan.n_column;
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
