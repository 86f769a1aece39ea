// Products with a factor of which most words are zero: for each of its rows a list of those that are not.
//
// A product of one word is a load and a multiplication for each vector of the right factor, where a tile of registers
// needs the multiplication alone; but nothing is done for zeros. The images of handwritten digits that machines learn
// from are zero at four pixels of five. Sums are those of the dense product, bit by bit: zeros add nothing to them.
#pragma once

#include "divergence_tile.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// As many sums as hide the latency of a product, and no more, so that panels stay narrow.
#if defined(__AVX512F__)
template <class Format>
constexpr int list_vectors = Format::pairs ? 8 : 4;
#else
template <class Format>
constexpr int list_vectors = 8;
#endif
template <class Format>
constexpr size_t list_panel = size_t(list_vectors<Format>) * lanes;

// Adds those of some words that are not zero to a list; the first of them stands at `place`. Memory behind the list is
// written to, as far as all of them would reach.
template <class V>
STARSKOPE_INLINE void append(V words, size_t place, uint32_t* listed, uint32_t* places, uint32_t& n) {
    constexpr int n_word = int(sizeof(V) / 4);
#if defined(__AVX512F__)
    if constexpr (n_word == 16) {
        const __mmask16 on = _mm512_test_epi32_mask((__m512i)words, (__m512i)words);
        if (on == 0) { // as at the edge of an image
            return;
        }
        const __m512i from = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __m512i at = _mm512_add_epi32(from, _mm512_set1_epi32(int(place)));
        _mm512_storeu_si512(listed + n, _mm512_maskz_compress_epi32(on, (__m512i)words));
        _mm512_storeu_si512(places + n, _mm512_maskz_compress_epi32(on, at));
        n += uint32_t(__builtin_popcount(on));
    } else {
        const __mmask8 on = _mm256_test_epi32_mask((__m256i)words, (__m256i)words);
        if (on == 0) { // as at the edge of an image
            return;
        }
        const __m256i at = _mm256_add_epi32(_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0), _mm256_set1_epi32(int(place)));
        _mm256_storeu_si256((__m256i*)(listed + n), _mm256_maskz_compress_epi32(on, (__m256i)words));
        _mm256_storeu_si256((__m256i*)(places + n), _mm256_maskz_compress_epi32(on, at));
        n += uint32_t(__builtin_popcount(on));
    }
#else
    for (int i = 0; i < n_word; ++i) {
        listed[n] = words[i];
        places[n] = uint32_t(place) + uint32_t(i);
        n += words[i] != 0;
    }
#endif
}

// Rows of the left factor as lists, `stride` apart, of `counts` words each; and where their products go.
struct ListProduct {
    const uint32_t* words;
    const uint32_t* places;
    const uint32_t* counts;
    size_t stride;
    size_t n_row;
    const uint32_t* b; // row `place` of the right factor: b + place b_step
    size_t b_step;
    float* out; // rows out_stride apart
    size_t out_stride;
    bool adds; // to what is there
    // What is wanted after the product, rows of as many vectors: called into the second cache meanwhile.
    const uint32_t* ahead;
    size_t ahead_stride;
    size_t n_ahead;
};

template <class Format, int C>
__attribute__((noinline)) void multiply_lists(const ListProduct& p) {
    for (size_t row = 0; row < p.n_row; ++row) {
        if (row < p.n_ahead) {
            for (int c = 0; c < C; ++c) {
                __builtin_prefetch(p.ahead + row * p.ahead_stride + c * lanes, 0, 2);
            }
        }
        const size_t n = p.counts[row];
        const uint32_t* const words = p.words + row * p.stride;
        const uint32_t* const places = p.places + row * p.stride;
        float* const out = p.out + row * p.out_stride;
        if (n == 0 && p.adds) {
            continue;
        }
        Floats sums[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            sums[c] = p.adds ? load<Floats>(out + c * lanes) : Floats{};
        }
        for (size_t i = 0; i < n; ++i) {
            const typename Format::Left left = Format::left(words + i);
            const uint32_t* const b = p.b + places[i] * p.b_step;
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) {
                sums[c] = Format::add_product(sums[c], left, Format::right(load_words(b + c * lanes)));
            }
        }
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            store(out + c * lanes, sums[c]);
        }
    }
}

// Up to list_vectors<Format> vectors.
template <class Format>
STARSKOPE_INLINE void multiply_lists(const ListProduct& p, size_t n_vector) {
    with_count<list_vectors<Format>>(n_vector, [&](auto vectors) { multiply_lists<Format, vectors.value>(p); });
}

STARSKOPE_INLINE size_t total(const uint32_t* counts, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; ++i) {
        sum += counts[i];
    }
    return sum;
}

// Whether lists beat tiles of registers for so many words that are not zero.
STARSKOPE_INLINE bool lists_pay(size_t n_listed, size_t n_word) {
    return 4 * n_listed < 3 * n_word;
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
