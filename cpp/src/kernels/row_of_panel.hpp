// Rows of results, put down vector by vector: past the caches and as whole lines where the processor can.
#pragma once

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Past the caches where whole lines can be written: they are not read before, and nobody needs them soon.
STARSKOPE_INLINE void write_vector(float* out, Floats x, bool past) {
#if defined(__AVX512F__)
    if (past) {
        _mm512_stream_ps(out, x);
        return;
    }
#elif defined(__AVX2__)
    if (past) {
        _mm256_stream_ps(out, x);
        return;
    }
#endif
    (void)past;
    store(out, x);
}

// What was written past the caches is seen by all others from here on.
STARSKOPE_INLINE void finish_writing() {
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

// Series at, at + 1, ... of a row of a panel of n_series.
STARSKOPE_INLINE void write(float* row, size_t at, Floats x, size_t n_series) {
    if (at + lanes <= n_series) {
        write_vector(row + at, x, uintptr_t(row) % 64 == 0);
    } else if (at < n_series) {
        const size_t n = n_series - at < lanes ? n_series - at : lanes;
        __builtin_memcpy(row + at, &x, n * sizeof(float));
    }
}

constexpr size_t line_floats = 16; // float32 values in a cache line

// Rows whose ends are kept from panel to panel; those of more would not stay in cache.
constexpr size_t most_kept_rows = size_t{1} << 15;

// One row of a panel of results, put down vector by vector: as whole lines past the caches, wherever the row begins. Of
// a line that two panels share the first one leaves its part in `kept` (line_floats,); null: such lines are written
// twice, and read before.
struct RowOfPanel {
    float* row;
    float* kept;
    size_t n_series;
    bool first, last; // panels of the row
    size_t shift;     // where in its line the row begins
    Floats before{};

    RowOfPanel(float* row_, float* kept_, size_t n_series_, bool first_, bool last_)
        : row(row_), kept(kept_), n_series(n_series_), first(first_), last(last_),
          shift(uintptr_t(row_) / sizeof(float) % line_floats) {
#if defined(__AVX512F__)
        if (kept != nullptr && shift != 0 && !first) {
            before = load<Floats>(kept);
        }
#endif
    }

    __attribute__((always_inline)) void put(size_t at, Floats x) {
#if defined(__AVX512F__)
        if (kept != nullptr && shift != 0) {
            const auto among = [](size_t begin, size_t end)
                                   __attribute__((always_inline)) { return __mmask16((1u << end) - (1u << begin)); };
            const __m512i from =
                _mm512_add_epi32(_mm512_set1_epi32(int(line_floats - shift)),
                                 _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
            const __m512 whole = _mm512_permutex2var_ps(before, from, x);
            if (at + line_floats > n_series) {
                if (at == 0 && !first) {
                    _mm512_mask_storeu_ps(row - shift, among(0, shift), whole);
                }
                write(row, at, x, n_series);
                return;
            }
            if (at == 0 && first) {
                _mm512_mask_storeu_ps(row - shift, among(shift, line_floats), whole);
            } else {
                _mm512_stream_ps(row + at - shift, whole);
            }
            before = x;
            if (at + 2 * line_floats > n_series) {
                if (last) {
                    _mm512_mask_storeu_ps(row + at, among(line_floats - shift, line_floats), x);
                } else {
                    store(kept, x);
                }
            }
            return;
        }
#endif
        write(row, at, x, n_series);
    }
};

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
