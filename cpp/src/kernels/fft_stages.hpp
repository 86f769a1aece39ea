// The stages of transforms: butterflies and twiddles, wherever the rows come from.
#pragma once

#include "fft.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Where butterflies take their rows from: from where they stand.
template <class V>
struct InPlace {
    Complex<V> operator()(const Element<V>* block, size_t row) const { return load_row<V>(block + row * row_size<V>); }
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

// One stage of every line of a block. Forward: butterflies, then twiddles; backward: the reverse. Twiddles by row
// follow each other line by line.
template <int radix, Order order, Twiddles twiddles, class V, class Source>
void run_stage(const FftStage& stage, Element<V>* block, const FftLines& lines, const Element<V>* twiddle,
               const Source& source) {
    const size_t outer = stage.outer, inner = twiddles == Twiddles::butterflies ? stage.inner : 1; // 1 in a last stage
    const size_t step = lines.step, apart = inner * step, n_line = lines.n;
    const uint32_t* const first = lines.first;
    const Element<V>* w = twiddle;
    for (size_t line = 0; line < n_line; ++line) {
        for (size_t o = 0; o < outer; ++o) {
            const size_t start = first[line] + o * radix * apart;
            if constexpr (twiddles == Twiddles::butterflies) {
                w = twiddle;
            }
            for (size_t t = 0; t < inner; ++t) {
                const size_t row = start + t * step;
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
                } else if constexpr (twiddles == Twiddles::rows) {
                    w += 2 * radix;
                }
            }
        }
    }
}

constexpr int largest_prime_radix = 61;

// One element and its mirror image. Plain members: as elements of an array they would live in memory.
template <class V>
struct PrimeSums {
    Complex<V> even, odd;

    __attribute__((always_inline)) void add(const Complex<V>& sum, const Complex<V>& difference,
                                            const Element<V>* root) {
        const V c = broadcast<V>(root[0]), s = broadcast<V>(root[1]);
        even = {multiply_add(c, sum.re, even.re), multiply_add(c, sum.im, even.im)};
        odd = {multiply_add(s, difference.re, odd.re), multiply_add(s, difference.im, odd.im)};
    }
};

// The same for an odd prime without a butterfly of its own: sums of cosines and sines, four elements at a time.
template <Order order, Twiddles twiddles, class V, class Source>
void run_prime_stage(const FftStage& stage, Element<V>* block, const FftLines& lines, const Element<V>* twiddle,
                     const Source& source) {
    const int radix = int(stage.radix), n = (radix - 1) / 2;
    const size_t outer = stage.outer, inner = twiddles == Twiddles::butterflies ? stage.inner : 1; // 1 in a last stage
    const size_t step = lines.step, apart = inner * step, n_line = lines.n;
    const uint32_t* const first = lines.first;
    const Element<V>* const roots = entries<V>(stage.roots);
    Complex<V> sum[largest_prime_radix / 2], difference[largest_prime_radix / 2];
    const Element<V>* w = twiddle;
    for (size_t line = 0; line < n_line; ++line) {
        for (size_t o = 0; o < outer; ++o) {
            const size_t start = first[line] + o * size_t(radix) * apart;
            if constexpr (twiddles == Twiddles::butterflies) {
                w = twiddle;
            }
            for (size_t t = 0; t < inner; ++t) {
                const size_t row = start + t * step;
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
                const Element<V>* r = roots;
                for (int k = 1; k <= n; k += prime_elements_at_once) {
                    PrimeSums<V> a{x0, {}}, b{x0, {}}, c{x0, {}}, d{x0, {}};
                    for (int i = 0; i < n; ++i, r += 2 * prime_elements_at_once) {
                        a.add(sum[i], difference[i], r);
                        b.add(sum[i], difference[i], r + 2);
                        c.add(sum[i], difference[i], r + 4);
                        d.add(sum[i], difference[i], r + 6);
                    }
                    const auto give_both = [&](int at, const PrimeSums<V>& x) __attribute__((always_inline)) {
                        if (at <= n) {
                            give(at, {x.even.re - x.odd.im, x.even.im + x.odd.re}); // roots hold -sin
                            give(radix - at, {x.even.re + x.odd.im, x.even.im - x.odd.re});
                        }
                    };
                    give_both(k, a);
                    give_both(k + 1, b);
                    give_both(k + 2, c);
                    give_both(k + 3, d);
                }
                if constexpr (twiddles == Twiddles::butterflies) {
                    w += 2 * (radix - 1);
                } else if constexpr (twiddles == Twiddles::rows) {
                    w += 2 * radix;
                }
            }
        }
    }
}

template <Order order, Twiddles twiddles, class V, class Source>
void run(const FftStage& stage, Element<V>* block, const FftLines& lines, const Element<V>* twiddle,
         const Source& source) {
    switch (stage.radix) {
#define STARSKOPE_RADIX(r)                                                                                             \
    case r:                                                                                                            \
        return run_stage<r, order, twiddles, V>(stage, block, lines, twiddle, source);
        STARSKOPE_RADIX(1)
        STARSKOPE_RADIX(2)
        STARSKOPE_RADIX(3)
        STARSKOPE_RADIX(4)
        STARSKOPE_RADIX(5)
        STARSKOPE_RADIX(7)
        STARSKOPE_RADIX(8)
        STARSKOPE_RADIX(11)
        STARSKOPE_RADIX(13)
#undef STARSKOPE_RADIX
    default:
        return run_prime_stage<order, twiddles, V>(stage, block, lines, twiddle, source);
    }
}

// One stage of a tile forward: `last` (length,), by row, multiplies what comes out of the last one unless it is null.
template <class V, class Source>
STARSKOPE_INLINE void forward_stage(const FftStage& stage, Element<V>* block, const FftLines& lines,
                                    const Element<V>* last, const Source& source) {
    if (stage.inner > 1) {
        run<Order::forward, Twiddles::butterflies, V>(stage, block, lines, entries<V>(stage.twiddle), source);
    } else if (last != nullptr) {
        run<Order::forward, Twiddles::rows, V>(stage, block, lines, last, source);
    } else {
        run<Order::forward, Twiddles::none, V>(stage, block, lines, nullptr, source);
    }
}

constexpr size_t rows_at_once = 128; // of neighbouring columns: enough to repay a call, few enough to stay in cache

// Calls each(lines, their twiddles) for all columns of a split, some at a time.
template <class V, class Each>
STARSKOPE_INLINE void for_columns(const FftSplit& split, const Each& each) {
    const size_t length = split.columns.length, n_column = split.n_column;
    const size_t at_once = length < rows_at_once ? rows_at_once / length : 1;
    const Element<V>* const twiddles = entries<V>(split.twiddle);
    for (size_t column = 0; column < n_column; column += at_once) {
        const size_t n = n_column - column < at_once ? n_column - column : at_once;
        each(FftLines{split.starts + column, n, split.stride},
             twiddles == nullptr ? nullptr : twiddles + 2 * column * length);
    }
}

// All columns of a block, the first half of its transform, of which `source` gives the rows.
template <class V, class Source>
void columns_from(const FftPlan& plan, Element<V>* block, const Source& source) {
    const FftTile& tile = plan.split.columns;
    for_columns<V>(plan.split, [&](const FftLines& lines, const Element<V>* last) {
        forward_stage<V>(tile.stage[0], block, lines, last, source);
        forward_stages(tile, 1, block, lines, last);
    });
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
