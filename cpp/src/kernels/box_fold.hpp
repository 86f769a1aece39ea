// Running sums of a tile over the bins of one period.
//
// Sums are laid out by groups of stars, so that those of one group stay in the first cache while its boxes are tried.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t width = box_tile_series;
constexpr size_t group_series = 16;
constexpr size_t vectors = width / lanes;      // of a row
constexpr size_t group = group_series / lanes; // vectors of a group

STARSKOPE_INLINE Ints load_ints(const int32_t* p) {
    Ints v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

STARSKOPE_INLINE void store_ints(int32_t* p, Ints v) {
    __builtin_memcpy(p, &v, sizeof v);
}

STARSKOPE_INLINE Ints load_bytes(const uint8_t* p) {
#if defined(__AVX512F__)
    return (Ints)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
    return (Ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#elif defined(__x86_64__)
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return (Ints)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
#else
    typedef uint8_t Bytes __attribute__((vector_size(lanes)));
    Bytes v;
    __builtin_memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, Ints);
#endif
}

STARSKOPE_INLINE Floats to_floats(Ints v) {
    return __builtin_convertvector(v, Floats);
}

// Elements of a row of running sums of one group: the series and, where they are the stars' own, the weights.
template <BoxWeights weights>
constexpr size_t row_size = weights == box_weights_common ? group_series : 2 * group_series;

STARSKOPE_INLINE size_t longest(const BoxTileJob& job) {
    return size_t(job.duration[job.n_duration - 1]);
}

template <BoxWeights weights>
STARSKOPE_INLINE int32_t* sums_of_group(const BoxTileJob& job, size_t g) {
    return job.folded + g * (job.n_bin + longest(job) + 1) * row_size<weights>;
}

// Writes the running sums; behind the last bin the first ones follow once more, plus the sum over all, which is zero
// for the series.
template <BoxWeights weights>
__attribute__((noinline)) void fold(const BoxTileJob& job) {
    constexpr bool own = weights == box_weights_own, counted = weights == box_weights_counted;
    constexpr size_t point_size = own ? 2 * width : width, size = row_size<weights>;
    Ints sum[vectors]{}, weight[vectors]{};
    int32_t* out[vectors];
    for (size_t v = 0; v < vectors; ++v) {
        out[v] = sums_of_group<weights>(job, v / group) + v % group * lanes;
    }
    const uint32_t* row = job.plan.row;
    for (size_t bin = 0; bin < job.n_bin; ++bin) {
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; ++v) {
            store_ints(out[v] + bin * size, sum[v]);
            if constexpr (own || counted) {
                store_ints(out[v] + bin * size + group_series, weight[v]);
            }
        }
        const uint32_t* const end = job.plan.row + job.plan.begin[bin + 1];
        for (; row < end; ++row) {
            const int32_t* const point = job.series + size_t(*row) * point_size;
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; ++v) {
                sum[v] += load_ints(point + v * lanes);
                if constexpr (own) {
                    weight[v] += load_ints(point + width + v * lanes);
                }
                if constexpr (counted) {
                    weight[v] += load_bytes(job.counted + size_t(*row) * width + v * lanes);
                }
            }
        }
    }
    const size_t more = longest(job);
    for (size_t bin = 0; bin <= more; ++bin) {
        for (size_t v = 0; v < vectors; ++v) {
            int32_t* const first = out[v] + bin * size;
            int32_t* const again = first + job.n_bin * size;
            store_ints(again, load_ints(first));
            if constexpr (own || counted) {
                store_ints(again + group_series, load_ints(first + group_series) + weight[v]);
            }
        }
    }
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
