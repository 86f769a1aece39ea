// Words that products work on, and dense products of matrices, a tile of registers at a time.
//
// A tile is R rows x C vectors of lanes. Its rows take one word each of the left factor per step, its lanes C vectors
// of the right one; each sum runs over the steps in their order, whatever the tile's shape is.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

typedef uint32_t UInts __attribute__((vector_size(4 * lanes)));
typedef uint32_t HalfUInts __attribute__((vector_size(4 * half)));
typedef uint64_t ULongs __attribute__((vector_size(8 * half)));

#if defined(__AVX512F__)
constexpr int tile_rows = 14; // 28 sums, two vectors and what is broadcast: all 32 registers
#elif defined(__aarch64__)
constexpr int tile_rows = 12;
#else
constexpr int tile_rows = 6;
#endif
constexpr int tile_vectors = 2;

STARSKOPE_INLINE UInts load_words(const uint32_t* p) {
    UInts v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

STARSKOPE_INLINE void store_words(uint32_t* p, UInts v) {
    __builtin_memcpy(p, &v, sizeof v);
}

// bfloat16 is the upper half of a float32; rounded to nearest, ties to even. The result is in the lower half of a word.
STARSKOPE_INLINE UInts to_bfloat16(Floats x) {
    const UInts bits = (UInts)x;
    return (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
}

STARSKOPE_INLINE Floats from_bfloat16(UInts half_words) {
    return (Floats)(half_words << 16);
}

// Words are float32.
struct Single {
    static constexpr bool pairs = false;
    typedef Floats Left;
    typedef Floats Right;
    STARSKOPE_INLINE Left left(const uint32_t* p) {
        float x;
        __builtin_memcpy(&x, p, sizeof x);
        return splat(x);
    }
    STARSKOPE_INLINE Right right(UInts words) { return (Floats)words; }
    STARSKOPE_INLINE UInts pack(Floats x) { return (UInts)x; }
    // The word that multiplies the weight of one unit of a word, and leaves out the other.
    STARSKOPE_INLINE UInts one(size_t) { return (UInts)splat(1.0f); }
    STARSKOPE_INLINE Floats add_product(Floats sum, Left a, Right b) { return multiply_add(a, b, sum); }
};

// Words are pairs of bfloat16, products and sums float32: first the upper halves, then the lower ones, as vdpbf16ps.
struct Pairs {
    static constexpr bool pairs = true;
    // Neighbouring lanes, which hold rounded values.
    STARSKOPE_INLINE HalfUInts pack(Floats x) {
        const ULongs both = (ULongs)x;
        return __builtin_convertvector((both >> 16 & 0xFFFFu) | (both >> 32 & 0xFFFF0000u), HalfUInts);
    }
    STARSKOPE_INLINE UInts one(size_t unit) { return UInts{} + (unit % 2 == 0 ? 0x3F80u : 0x3F800000u); }
#if defined(__AVX512BF16__)
    typedef __m512bh Left;
    typedef __m512bh Right;
    STARSKOPE_INLINE Left left(const uint32_t* p) {
        int32_t x;
        __builtin_memcpy(&x, p, sizeof x);
        return (__m512bh)_mm512_set1_epi32(x);
    }
    STARSKOPE_INLINE Right right(UInts words) { return (__m512bh)words; }
    STARSKOPE_INLINE Floats add_product(Floats sum, Left a, Right b) {
        return (Floats)_mm512_dpbf16_ps((__m512)sum, a, b);
    }
#else
    struct Left {
        Floats lower, upper;
    };
    typedef Left Right;
    STARSKOPE_INLINE Left split(UInts words) { return {(Floats)(words << 16), (Floats)(words & 0xFFFF0000u)}; }
    STARSKOPE_INLINE Left left(const uint32_t* p) {
        uint32_t x;
        __builtin_memcpy(&x, p, sizeof x);
        return split(x - UInts{});
    }
    STARSKOPE_INLINE Right right(UInts words) { return split(words); }
    STARSKOPE_INLINE Floats add_product(Floats sum, const Left& a, const Right& b) {
        return multiply_add(a.lower, b.lower, multiply_add(a.upper, b.upper, sum));
    }
#endif
};

template <int n>
struct Count {
    static constexpr int value = n;
};

// Calls f(Count<n>) for 1 <= n <= most.
template <int most, class F>
STARSKOPE_INLINE void with_count(size_t n, const F& f) {
    if constexpr (most == 1) {
        (void)n;
        f(Count<1>{});
    } else if (n == size_t(most)) {
        f(Count<most>{});
    } else {
        with_count<most - 1>(n, f);
    }
}

// Item `i` of 0..n cut into the fewest pieces of at most `most` items, near equal and multiples of `multiple`.
struct Split {
    size_t n, n_piece, n_unit, multiple;
    STARSKOPE_INLINE Split make(size_t n, size_t most, size_t multiple) {
        const size_t n_unit = (n + multiple - 1) / multiple, per = most / multiple;
        return {n, (n_unit + per - 1) / per, n_unit, multiple};
    }
    __attribute__((always_inline)) size_t start(size_t i) const {
        const size_t at = n_unit * i / n_piece * multiple;
        return at < n ? at : n;
    }
};

// sums += a b over n steps. Left factor: `a + k a_step + r`; right: `b + k b_step + c lanes`.
template <class Format, int R, int C>
STARSKOPE_INLINE void add_products(Floats (&sums)[R][C], const uint32_t* a, size_t a_step, const uint32_t* b,
                                   size_t b_step, size_t n) {
    for (size_t i = 0; i < n; ++i, a += a_step, b += b_step) {
        __builtin_prefetch(a + 8 * a_step);
        for (int c = 0; c < C; ++c) {
            __builtin_prefetch(b + 8 * b_step + c * lanes);
        }
        typename Format::Right right[C];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            right[c] = Format::right(load_words(b + c * lanes));
        }
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const typename Format::Left left = Format::left(a + r);
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) {
                sums[r][c] = Format::add_product(sums[r][c], left, right[c]);
            }
        }
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
