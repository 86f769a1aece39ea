// Layers of units: from what reaches them to probabilities and states, each left in the layouts that the products read.
// Blocks of lanes x lanes go through the registers and are transposed there.
#pragma once

#include "divergence_lists.hpp"
#include "divergence_tables.hpp"
#include "divergence_units.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// a0 b0 a1 b1 ..., of the first half of the lanes and of the second.
STARSKOPE_INLINE Floats zip_first(Floats a, Floats b) {
#if defined(__AVX512F__)
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif defined(__AVX2__)
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}

STARSKOPE_INLINE Floats zip_second(Floats a, Floats b) {
#if defined(__AVX512F__)
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

struct Block {
    Floats row[lanes];
};

STARSKOPE_INLINE void transpose(Block& block) {
#pragma GCC unroll 4
    for (int size = 1; size < lanes; size *= 2) {
        Block next;
#pragma GCC unroll 8
        for (int i = 0; i < half; ++i) {
            next.row[2 * i] = zip_first(block.row[i], block.row[i + half]);
            next.row[2 * i + 1] = zip_second(block.row[i], block.row[i + half]);
        }
        block = next;
    }
}

STARSKOPE_INLINE size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

// Ones in the bits of the first n lanes.
STARSKOPE_INLINE Ints first_lanes(size_t n) {
    Ints place;
    for (int i = 0; i < lanes; ++i) {
        place[i] = i;
    }
    return place < Ints{} + int32_t(least(n, lanes));
}

STARSKOPE_INLINE Floats kept(Floats x, Ints mask) {
    return (Floats)((Ints)x & mask);
}

template <class Format>
STARSKOPE_INLINE Floats rounded(Floats x) {
    if constexpr (Format::pairs) {
        return from_bfloat16(to_bfloat16(x));
    } else {
        return x;
    }
}

// Words along an axis of n units, or rows.
template <class Format>
STARSKOPE_INLINE size_t words(size_t n) {
    return Format::pairs ? (n + 1) / 2 : n;
}

// Writes the rows of a block, which hold rounded values, from row `at` (even) on; rows beyond `n` are not written, but
// for the second of a pair.
template <class Format>
STARSKOPE_INLINE void store_block(const Block& block, uint32_t* out, size_t stride, size_t at, size_t n) {
    if constexpr (Format::pairs) {
        out += at / 2 * stride;
#pragma GCC unroll 8
        for (int i = 0; i < half; ++i) {
            if (size_t(2 * i) < n) {
                store_words(out + size_t(i) * stride,
                            (UInts)block.row[2 * i] >> 16 | ((UInts)block.row[2 * i + 1] & 0xFFFF0000u));
            }
        }
    } else {
        out += at * stride;
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) {
            if (size_t(i) < n) {
                store_words(out + size_t(i) * stride, (UInts)block.row[i]);
            }
        }
    }
}

STARSKOPE_INLINE Floats sum_of_rows(const Block& block) {
    Block sums = block;
#pragma GCC unroll 4
    for (int n = half; n > 0; n /= 2) {
        for (int i = 0; i < n; ++i) {
            sums.row[i] += sums.row[i + n];
        }
    }
    return sums.row[0];
}

// Of the data or the model.
STARSKOPE_INLINE uint32_t* unit_counts(const DivergenceJob& job, bool of_model) {
    const size_t n_tile = (job.n_visible + divergence_units - 1) / divergence_units;
    return job.unit_counts + (of_model ? n_tile * divergence_units : 0);
}

STARSKOPE_INLINE void add_to(float* sums, const Floats& more) {
    store(sums, load<Floats>(sums) + more);
}

// Lists of the visible units' words, made a block of `lanes` units and as many rows of the batch at a time.
template <class Format>
struct VisibleLists {
    const DivergenceJob& job;
    size_t tile;
    bool of_model;
    uint32_t n_listed[lanes]; // of each unit of the block

    VisibleLists(const DivergenceJob& j, size_t t, bool model) : job(j), tile(t), of_model(model) {
        if (!job.gaussian) {
            __builtin_memset(job.row_counts + tile * job.b_stride, 0,
                             (model ? job.n_model : job.n_data) * sizeof(uint32_t));
        }
    }

    void begin() { __builtin_memset(n_listed, 0, sizeof n_listed); }

    // Lanes are units.
    __attribute__((always_inline)) void add_rows(const Block& block, size_t unit, size_t row, size_t n_row) {
        for (size_t i = 0; i < n_row; ++i) {
            const size_t list = tile * job.b_stride + row + i, at = list * words<Format>(divergence_units);
            append(Format::pack(block.row[i]), words<Format>(unit), job.row_words + at, job.row_places + at,
                   job.row_counts[list]);
        }
    }

    // Lanes are rows of the batch.
    __attribute__((always_inline)) void add_units(const Block& block, size_t unit, size_t row) {
        const size_t above = of_model ? words<Format>(job.n_data) : 0;
        for (size_t i = 0; i < size_t(lanes); ++i) {
            const size_t at = (unit + i) * job.l_stride + (of_model ? job.l_model : 0);
            append(Format::pack(block.row[i]), above + words<Format>(row), job.unit_words + at, job.unit_places + at,
                   n_listed[i]);
        }
    }

    void end(size_t unit) { __builtin_memcpy(unit_counts(job, of_model) + unit, n_listed, sizeof n_listed); }
};

// Reads the rows of the batch for a tile of units.
template <class Format>
void gather_rows(const DivergenceJob& job, size_t tile) {
    const size_t first = tile * divergence_units, last = least(first + divergence_units, job.n_visible);
    VisibleLists<Format> lists(job, tile, false);
    for (size_t unit = first; unit < last; unit += lanes) {
        const size_t n_unit = least(lanes, job.n_visible - unit);
        store(job.data_visible + unit, Floats{});
        lists.begin();
        for (size_t row = 0; row < job.n_data; row += lanes) {
            const size_t n_row = least(lanes, job.n_data - row);
            Block block = {};
            for (size_t i = 0; i < n_row; ++i) {
                const float* x = job.data + size_t(job.row[row + i]) * job.data_stride + unit;
                if (n_unit == size_t(lanes)) {
                    block.row[i] = load<Floats>(x);
                } else {
                    __builtin_memcpy(&block.row[i], x, n_unit * sizeof(float));
                }
                block.row[i] = rounded<Format>(block.row[i]);
            }
            if (job.has_rows[tile] != 0) {
                store_block<Format>(block, job.visible_rows + unit, job.v_stride, row, n_row);
            }
            add_to(job.data_visible + unit, sum_of_rows(block));
            if (!job.gaussian) {
                lists.add_rows(block, unit, row, n_row);
            }
            transpose(block);
            if (job.has_columns) {
                store_block<Format>(block, job.data_columns + row, job.b_stride, unit, lanes);
            }
            if (!job.gaussian) {
                lists.add_units(block, unit, row);
            }
        }
        if (!job.gaussian) {
            lists.end(unit);
        }
        if (job.centered) {
            const Floats offset = load<Floats>(job.visible_offset + unit);
            const Floats mean = load<Floats>(job.data_visible + unit) * splat(1.0f / float(job.n_data));
            const Floats moved = multiply_add(splat(job.offset_rate), mean - offset, offset);
            store(job.visible_offset + unit, kept(moved, first_lanes(n_unit)));
        }
    }
}

// From sums to probabilities of a tile of hidden units, and on to states where asked for.
template <class Format>
void finish_hidden(const DivergenceJob& job, size_t tile) {
    const size_t first = tile * divergence_units, last = least(first + divergence_units, job.n_hidden);
    const size_t n_batch = job.from_data ? job.n_data : job.n_model;
    // Rows of the model stand below those of the data, of which an odd one has a pair of its own.
    uint32_t* const rows = job.hidden_rows + (job.from_data ? 0 : words<Format>(job.n_data) * job.h_stride);
    const Floats scale = splat(job.from_data ? 1.0f : -float(job.n_data) / float(job.n_model));
    float* const total = job.from_data ? job.data_hidden : job.model_hidden;
    for (size_t unit = first; unit < last; unit += lanes) {
        const size_t n_unit = least(lanes, job.n_hidden - unit);
        const Floats bias = load<Floats>(job.hidden_bias + unit);
        const Ints inside = first_lanes(n_unit);
        Floats sums = {};
        for (size_t row = 0; row < n_batch; row += lanes) {
            const size_t n_row = least(lanes, n_batch - row);
            Block block = {};
            for (size_t i = 0; i < n_row; ++i) {
                const Floats x = load<Floats>(job.hidden_sums + (row + i) * job.h_stride + unit) + bias;
                block.row[i] = kept(sigmoid(x), inside);
            }
            if (job.keeps) {
                Block scaled = {};
                for (size_t i = 0; i < n_row; ++i) {
                    scaled.row[i] = rounded<Format>(block.row[i] * scale);
                }
                store_block<Format>(scaled, rows + unit, job.h_stride, row, n_row);
                sums += sum_of_rows(scaled);
            }
            if (job.draws) {
                const Ints present = first_lanes(n_row);
                transpose(block);
#pragma GCC unroll 4
                for (int i = 0; i < lanes; i += 4) {
                    const RandomWords random = random_words(job, row, (unit + size_t(i)) / 4);
                    for (int j = 0; j < 4; ++j) {
                        block.row[i + j] = kept(coin(random.word[j], block.row[i + j]), present);
                    }
                }
                store_block<Single>(block, job.state_columns + row, job.b_stride, unit, lanes);
            }
        }
        if (job.keeps) {
            store(total + unit, sums);
            if (job.centered && job.from_data) {
                const Floats mean = sums * splat(1.0f / float(job.n_data));
                const Floats offset = job.starts_offset ? mean : load<Floats>(job.hidden_offset + unit);
                store(job.hidden_offset + unit, multiply_add(splat(job.offset_rate), mean - offset, offset));
            }
        }
    }
    if (job.draws) {
        number_tile(job, tile, n_batch);
    }
}

// From sums to drawn states of visible units, a block of `lanes` units for some rows after the other.
template <class Format>
struct VisibleStates {
    const DivergenceJob& job;
    size_t tile;
    VisibleLists<Format> lists;
    Floats total; // of each unit of the block

    VisibleStates(const DivergenceJob& j, size_t t) : job(j), tile(t), lists(j, t, true) {}

    void begin() {
        total = Floats{};
        lists.begin();
    }

    // Rows from `row` on; `sums` has a line of `stride` rows for each unit.
    __attribute__((always_inline)) void draw(const float* sums, size_t stride, size_t unit, size_t row) {
        const size_t n_unit = least(lanes, job.n_visible - unit), n_row = least(lanes, job.n_model - row);
        const Ints present = first_lanes(n_row);
        Block block = {};
        for (size_t i = 0; i < n_unit; i += 4) {
            const RandomWords random = random_words(job, row, (unit + i) / 4);
            Floats x[4];
            for (size_t j = 0; j < 4; ++j) {
                x[j] = load<Floats>(sums + (i + j) * stride) + splat(job.visible_bias[unit + i + j]);
            }
            if (job.gaussian) {
                const SineCosine even = two_normals(random.word[0], random.word[1]);
                const SineCosine odd = two_normals(random.word[2], random.word[3]);
                x[0] += even.cosine;
                x[1] += even.sine;
                x[2] += odd.cosine;
                x[3] += odd.sine;
            } else {
                for (int j = 0; j < 4; ++j) {
                    x[j] = sigmoid_coin(random.word[j], x[j]);
                }
            }
            for (size_t j = 0; j < 4 && i + j < n_unit; ++j) {
                block.row[i + j] = kept(rounded<Format>(x[j]), present);
            }
        }
        if (job.has_columns) {
            store_block<Format>(block, job.model_columns + row, job.b_stride, unit, lanes);
        }
        if (!job.gaussian) {
            lists.add_units(block, unit, row);
        }
        if (job.keeps || !job.gaussian) {
            transpose(block);
        }
        if (!job.gaussian) {
            lists.add_rows(block, unit, row, n_row);
        }
        if (job.keeps) {
            if (job.has_rows[tile] != 0) {
                store_block<Format>(block, job.visible_rows + words<Format>(job.n_data) * job.v_stride + unit,
                                    job.v_stride, row, n_row);
            }
            total += sum_of_rows(block);
        }
    }

    void end(size_t unit) {
        if (!job.gaussian) {
            lists.end(unit);
        }
        if (job.keeps) {
            store(job.model_visible + unit, total);
        }
    }
};

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
