// Panels of series to transform, copied from time-major memory into blocks of rows, and brought to one size.
//
// Complex series take a lane each. Real ones, two in a lane, are one complex number: X_a = (Z[k] + conj Z[n - k]) / 2
// and X_b = (Z[k] - conj Z[n - k]) / 2 i, and each is scaled by a power of two to a size near 1, so that the rounding
// errors of a bright series are not those of the faint one beside it. Backward is forward with real and imaginary parts
// exchanged before and after.
#pragma once

#include "fft_stages.hpp"
#include "halves.hpp"
#include "transform_jobs.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t panel_bytes = 256; // of a row, at most
constexpr size_t rows_of_chunk = 16;
constexpr size_t rows_called_ahead = 8;

template <class V>
constexpr size_t most_blocks = panel_bytes / (row_size<V> * sizeof(Element<V>));
template <class V>
constexpr size_t most_real_series = most_blocks<V> * row_size<V>;

// Pairs (re, im) as they lie in two vectors, to one vector of each, and back.
template <int n, int... i>
struct Pairs : Pairs<n - 1, n - 1, i...> {};
template <int... i>
struct Pairs<0, i...> {
    static constexpr int n = sizeof...(i);
    template <class V>
    static __attribute__((always_inline)) Complex<V> apart(V a, V b) {
        return {__builtin_shufflevector(a, b, (2 * i)...), __builtin_shufflevector(a, b, (2 * i + 1)...)};
    }
    template <class V>
    static __attribute__((always_inline)) V first(Complex<V> x) {
        return __builtin_shufflevector(x.re, x.im, (i / 2 + i % 2 * n)...);
    }
    template <class V>
    static __attribute__((always_inline)) V second(Complex<V> x) {
        return __builtin_shufflevector(x.re, x.im, ((n + i) / 2 + i % 2 * n)...);
    }
};
template <class V>
using PairsOf = Pairs<LaneTraits<V>::lanes>;

STARSKOPE_INLINE size_t beyond(size_t n, size_t at) {
    return n > at ? n - at : 0;
}

// The next n of a row, zeros where it has ended.
template <class V>
STARSKOPE_INLINE V load_part(const Element<V>* from, size_t n) {
    if (n >= size_t(LaneTraits<V>::lanes)) {
        return load_vector<V>(from);
    }
    V x{};
    if (n > 0) {
        __builtin_memcpy(&x, from, n * sizeof(Element<V>));
    }
    return x;
}

// The next n complex numbers of a row.
template <class V>
STARSKOPE_INLINE Complex<V> load_pairs(const Element<V>* from, size_t n) {
    constexpr size_t lanes_of = LaneTraits<V>::lanes;
    return PairsOf<V>::apart(load_part<V>(from, 2 * n), load_part<V>(from + lanes_of, beyond(2 * n, lanes_of)));
}

// Sums of squares in float64, whose range holds those of any float32.
template <class V>
struct Squares {
    Doubles low{}, high{};

    __attribute__((always_inline)) void add(V x) {
        if constexpr (sizeof(Element<V>) == 4) {
            const Doubles a = lower(x), b = upper(x);
            low = multiply_add(a, a, low);
            high = multiply_add(b, b, high);
        } else {
            low = multiply_add(x, x, low);
        }
    }

    __attribute__((always_inline)) void add_to(double* p) const {
        store_wide(p, load_wide(p) + low);
        if constexpr (sizeof(Element<V>) == 4) {
            store_wide(p + half, load_wide(p + half) + high);
        }
    }
};

// Neighbouring series in blocks of rows.
template <class V>
struct TransformPanel {
    using E = Element<V>;
    static constexpr size_t lanes_of = LaneTraits<V>::lanes;

    const TransformJob<E>& job;
    const FftPlan& plan;
    E* blocks;
    size_t block_size;
    size_t first; // series
    size_t n;     // series
    size_t n_block;
    alignas(64) double squares[most_real_series<V>];
    alignas(64) E scale[most_real_series<V>];
    alignas(64) E factor[most_real_series<V>]; // of what is written, NaN for series without an answer

    E* row(size_t b, size_t j) const { return blocks + b * block_size + plan.place[j] * row_size<V>; }

    // Calls each(b, begin, end, the first row's address, elements left of it) for some rows of some blocks at a time;
    // a series is `size` elements.
    template <class Each>
    __attribute__((always_inline)) void for_chunks(size_t size, size_t block_elements, const Each& each) {
        for (size_t begin = 0; begin < job.n_in; begin += rows_of_chunk) {
            const size_t end = beyond(job.n_in, begin) < rows_of_chunk ? job.n_in : begin + rows_of_chunk;
            const E* const from = job.data + begin * job.in_stride + first * size;
            for (size_t b = 0; b < n_block; ++b) {
                each(b, begin, end, from + b * block_elements, beyond(n * size, b * block_elements));
            }
        }
    }

    __attribute__((always_inline)) void call_ahead(const E* from, size_t j, size_t n_element) const {
        if (j + rows_called_ahead < job.n_in) {
            const E* const ahead = from + rows_called_ahead * job.in_stride;
            for (size_t at = 0; at < n_element; at += 64 / sizeof(E)) {
                __builtin_prefetch(ahead + at);
            }
        }
    }

    void take_complex() {
        for_chunks(2, row_size<V>, [&](size_t b, size_t begin, size_t end, const E* from, size_t left) {
            for (size_t j = begin; j < end; ++j, from += job.in_stride) {
                call_ahead(from, j, row_size<V>);
                const Complex<V> x = load_pairs<V>(from, left / 2);
                store_row<V>(row(b, j), job.backward ? Complex<V>{x.im, x.re} : x);
            }
        });
    }

    void take_real() {
        for_chunks(1, row_size<V>, [&](size_t b, size_t begin, size_t end, const E* from, size_t left) {
            Squares<V> re, im;
            for (size_t j = begin; j < end; ++j, from += job.in_stride) {
                call_ahead(from, j, row_size<V>);
                const Complex<V> x{load_part<V>(from, left), load_part<V>(from + lanes_of, beyond(left, lanes_of))};
                re.add(x.re);
                im.add(x.im);
                store_row<V>(row(b, j), x);
            }
            re.add_to(squares + b * row_size<V>);
            im.add_to(squares + b * row_size<V> + lanes_of);
        });
    }

    // Element k of the series in the real parts goes to the row of sample k, that of the others to that of n - k: they
    // meet once their sizes are known. Where the two rows are one, only real parts count.
    void take_halves() {
        for_chunks(2, 2 * row_size<V>, [&](size_t b, size_t begin, size_t end, const E* from, size_t left) {
            Squares<V> re, im;
            for (size_t k = begin; k < end; ++k, from += job.in_stride) {
                call_ahead(from, k, 2 * row_size<V>);
                Complex<V> x = load_pairs<V>(from, left / 2);
                Complex<V> y = load_pairs<V>(from + row_size<V>, beyond(left, row_size<V>) / 2);
                if (k == 0 || 2 * k == plan.n) {
                    x = {x.re, y.re};
                    re.add(x.re);
                    im.add(x.im);
                } else {
                    re.add(x.re);
                    re.add(x.im);
                    im.add(y.re);
                    im.add(y.im);
                    store_row<V>(row(b, plan.n - k), y);
                }
                store_row<V>(row(b, k), x);
            }
            re.add_to(squares + b * row_size<V>);
            im.add_to(squares + b * row_size<V> + lanes_of);
        });
    }

    void clear_rows(size_t begin, size_t end) {
        for (size_t b = 0; b < n_block; ++b) {
            for (size_t j = begin; j < end; ++j) {
                store_row<V>(row(b, j), {V{}, V{}});
            }
        }
    }

    // Scales of real series, from their sums of squares over `count` numbers.
    void level(size_t count) {
        constexpr double limit = sizeof(E) == 4 ? 100.0 : 990.0; // products with any factor stay normal numbers
        constexpr double most = 0x1p1000, least = 0x1p-980;
        for (size_t i = 0; i < n_block * row_size<V>; ++i) {
            double size = __builtin_sqrt(squares[i] / double(count));
            bool whole = true;
            if (!(squares[i] == 0.0 || (squares[i] > least && squares[i] < most)) || (size == 0.0 && sizeof(E) == 8)) {
                size = largest_of(i, whole);
            }
            int exponent = size > 0.0 ? __builtin_ilogb(size) : int(limit);
            exponent = exponent > int(limit) ? int(limit) : exponent < -int(limit) ? -int(limit) : exponent;
            scale[i] = E(__builtin_ldexp(1.0, -exponent));
            factor[i] = whole ? E(size > 0.0 ? __builtin_ldexp(job.factor, exponent) : 0.0) : E(__builtin_nan(""));
        }
    }

    // Largest magnitude of a series, whose squares float64 could not hold; a series with a number that is not finite
    // becomes 0 in the panel.
    double largest_of(size_t series, bool& whole) {
        E* const lane = blocks + series / row_size<V> * block_size + series % row_size<V>;
        double largest = 0.0;
        whole = true;
        const auto see = [&](double x) {
            whole = whole && x - x == 0.0;
            largest = __builtin_fabs(x) > largest ? __builtin_fabs(x) : largest;
        };
        const bool halves = job.kind == TransformKind::to_real;
        const size_t in_block = series % row_size<V>;
        E* const re = lane - in_block + in_block % lanes_of;
        for (size_t j = 0; j < plan.n; ++j) {
            const size_t at = plan.place[j] * row_size<V>;
            const bool shared = !halves || j == 0 || 2 * j == plan.n;
            if (shared) {
                see(double(lane[at]));
            } else if ((2 * j < plan.n) == (in_block < lanes_of)) {
                see(double(re[at]));
                see(double(re[at + lanes_of]));
            }
        }
        for (size_t j = 0; j < plan.n && !whole; ++j) {
            const size_t at = plan.place[j] * row_size<V>;
            if (!halves || j == 0 || 2 * j == plan.n) {
                lane[at] = 0;
            } else if ((2 * j < plan.n) == (in_block < lanes_of)) {
                re[at] = re[at + lanes_of] = 0;
            }
        }
        return largest;
    }

    // Scaled halves to the elements of the complex series, parts exchanged.
    void join_halves() {
        for (size_t b = 0; b < n_block; ++b) {
            const Complex<V> s = load_row<V>(scale + b * row_size<V>);
            for (size_t k = 0; 2 * k <= plan.n; ++k) {
                E* const here = row(b, k);
                const Complex<V> a = load_row<V>(here);
                if (k == 0 || 2 * k == plan.n) {
                    store_row<V>(here, {a.im * s.im, a.re * s.re});
                    continue;
                }
                E* const mirror = row(b, plan.n - k);
                const Complex<V> c = load_row<V>(mirror), x{a.re * s.re, a.im * s.re}, y{c.re * s.im, c.im * s.im};
                store_row<V>(here, {x.im + y.re, x.re - y.im});
                store_row<V>(mirror, {y.re - x.im, x.re + y.im});
            }
        }
    }
};

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
