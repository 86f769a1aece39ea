// Products with the drawn states of hidden units, which are zeros and ones: instead of multiplying, look sums up.
//
// The states of a few units make a number; a table in registers holds the sum of their weights for every such number
// (the method of four Russians: Arlazarov, Dinitz, Kronrod & Faradzhev 1970). Lanes are rows of the batch: one
// permutation of the table and one addition stand for as many products as the number has bits, and the table, made by
// one product for each bit, serves the whole batch.
#pragma once

#include "divergence_job.hpp"
#include "divergence_tile.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Units to a number, by how many sums the registers of one permutation hold.
#if defined(__AVX512F__)
constexpr int table_units = 5;
constexpr int lookup_rows = 2;
constexpr int lookup_vectors = 8;
#elif defined(__AVX2__)
constexpr int table_units = 3;
constexpr int lookup_rows = 1;
constexpr int lookup_vectors = 8;
#else
constexpr int table_units = 2;
constexpr int lookup_rows = 1;
constexpr int lookup_vectors = 8;
#endif
constexpr size_t table_groups = (divergence_units + table_units - 1) / table_units; // of a tile of units

constexpr int n_vector_bits = lanes == 16 ? 4 : lanes == 8 ? 3 : 2;
static_assert(table_units - n_vector_bits <= 1);

// The number in the form that a permutation takes.
STARSKOPE_INLINE UInts permutation(UInts number) {
#if defined(__AVX2__)
    return number;
#elif defined(__SSSE3__) || defined(__aarch64__)
    return number * 0x04040404u + 0x03020100u; // of bytes
#else
    return number;
#endif
}

STARSKOPE_INLINE Floats looked_up(Floats table, UInts places) {
#if defined(__AVX512F__)
    return (Floats)_mm512_permutexvar_ps((__m512i)places, (__m512)table);
#elif defined(__AVX2__)
    return (Floats)_mm256_permutevar8x32_ps((__m256)table, (__m256i)places);
#elif defined(__SSSE3__)
    return (Floats)_mm_shuffle_epi8((__m128i)table, (__m128i)places);
#elif defined(__aarch64__)
    return (Floats)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)places);
#else
    Floats x;
    for (int i = 0; i < lanes; ++i) {
        x[i] = table[places[i]];
    }
    return x;
#endif
}

STARSKOPE_INLINE Floats looked_up(Floats low, Floats high, UInts places) {
#if defined(__AVX512F__)
    return (Floats)_mm512_permutex2var_ps((__m512)low, (__m512i)places, (__m512)high);
#else
    (void)high;
    return looked_up(low, places);
#endif
}

// Lanes whose number has bit `bit`.
STARSKOPE_INLINE UInts lanes_of(int bit) {
    UInts mask;
    for (int i = 0; i < lanes; ++i) {
        mask[i] = i >> bit & 1 ? 0xFFFFFFFFu : 0u;
    }
    return mask;
}

// Writes the numbers of a tile's states.
inline __attribute__((always_inline)) void number_tile(const DivergenceJob& job, size_t tile, size_t n_batch) {
    const uint32_t* const states = job.state_columns + tile * divergence_units * job.b_stride;
    uint32_t* const numbers = job.state_numbers + tile * table_groups * job.b_stride;
    for (size_t group = 0; group < table_groups; ++group) {
        const size_t first = group * table_units;
        for (size_t row = 0; row < n_batch; row += lanes) {
            UInts number = {};
            for (size_t bit = 0; bit < size_t(table_units) && first + bit < divergence_units; ++bit) {
                // A float32 of 1 has a bit at 23, that of 0 has none.
                number |= (load_words(states + (first + bit) * job.b_stride + row) >> 23 & 1u) << uint32_t(bit);
            }
            store_words(numbers + group * job.b_stride + row, permutation(number));
        }
    }
}

// Adds the weight of one unit to the lanes of a table whose number has bit `bit`.
template <class Format>
STARSKOPE_INLINE Floats add_in_lanes(Floats sum, typename Format::Left weight, UInts one, int bit) {
#if defined(__AVX512F__)
    const __mmask16 mask = bit == 0 ? 0xAAAA : bit == 1 ? 0xCCCC : bit == 2 ? 0xF0F0 : 0xFF00;
    if constexpr (!Format::pairs) {
        return (Floats)_mm512_mask3_fmadd_ps((__m512)weight, (__m512)one, (__m512)sum, mask);
    }
#if defined(__AVX512BF16__)
    if constexpr (Format::pairs) {
        // GCC 12 takes the lower half of the mask for all of it.
        asm("vdpbf16ps %1, %2, %0 %{%3%}" : "+v"(sum) : "v"(weight), "v"(one), "Yk"(mask));
        return sum;
    }
#endif
#endif
    return Format::add_product(sum, weight, Format::right(one & lanes_of(bit)));
}

struct Lookups {
    const uint32_t* weights; // of the first unit: those of `n_hidden` hidden ones
    size_t w_stride;         // to the next word along the visible units
    size_t n_hidden;
    size_t unit;             // its number, even for two rows
    const uint32_t* numbers; // rows b_stride apart
    size_t b_stride;
    float* out; // rows out_stride apart
    size_t out_stride;
};

// Sums of the weights of `table_units` units for every number, of R rows.
template <int R>
struct Tables {
    Floats low[R], high[R];
};

template <class Format, int R>
STARSKOPE_INLINE Tables<R> tables_of(const Lookups& p, size_t hidden) {
    Tables<R> t;
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
        // In pairs two units have their weights in one row of words.
        const uint32_t* const weights = p.weights + (Format::pairs ? 0 : size_t(r) * p.w_stride) + hidden;
        const UInts one = Format::one(R == 1 ? p.unit : size_t(r));
        t.low[r] = Floats{};
#pragma GCC unroll 5
        for (int bit = 0; bit < n_vector_bits; ++bit) {
            t.low[r] = add_in_lanes<Format>(t.low[r], Format::left(weights + bit), one, bit);
        }
        t.high[r] = t.low[r];
        if constexpr (table_units > n_vector_bits) {
            t.high[r] = Format::add_product(t.high[r], Format::left(weights + n_vector_bits), Format::right(one));
        }
    }
    return t;
}

template <class Format, int R, int C>
__attribute__((noinline)) void look_up(const Lookups& p) {
    Floats sums[R][C];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            sums[r][c] = Floats{};
        }
    }
    const uint32_t* numbers = p.numbers;
    Tables<R> next = tables_of<Format, R>(p, 0);
    for (size_t tile = 0; tile < p.n_hidden; tile += divergence_units) {
        const size_t end = tile + divergence_units < p.n_hidden ? tile + divergence_units : p.n_hidden;
        for (size_t hidden = tile; hidden < end; hidden += table_units, numbers += p.b_stride) {
            // Tables take one product after the other: those of the next number are begun here. Behind the last one
            // there is padding.
            const Tables<R> tables = next;
            next = tables_of<Format, R>(p, hidden + table_units < end ? hidden + table_units : end);
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) {
                UInts places = load_words(numbers + c * lanes);
#if defined(__AVX512F__)
                asm("" : "+v"(places)); // loaded once for all rows: loads are what is scarce
#endif
#pragma GCC unroll 2
                for (int r = 0; r < R; ++r) {
                    sums[r][c] += table_units > n_vector_bits ? looked_up(tables.low[r], tables.high[r], places)
                                                              : looked_up(tables.low[r], places);
                }
            }
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            store(p.out + size_t(r) * p.out_stride + c * lanes, sums[r][c]);
        }
    }
}

// Up to lookup_rows rows and lookup_vectors vectors.
template <class Format>
STARSKOPE_INLINE void look_up(const Lookups& p, size_t n_row, size_t n_vector) {
    with_count<lookup_rows>(n_row, [&](auto rows) {
        with_count<lookup_vectors>(n_vector, [&](auto vectors) { look_up<Format, rows.value, vectors.value>(p); });
    });
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
