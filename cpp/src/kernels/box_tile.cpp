// The best box of every star of one tile at one period.
//
// Folding adds the rows of the tile in order of their bins, so running sums C over bins are written as they arise. A
// box of d bins from bin b holds C[b + d] - C[b]. With weights common to all stars its gain is the square of
// (C[b] - C[b + d]) root[d][b], root computed once per period: per box and vector of stars one difference, one
// product, one maximum. Where stars have weights of their own gains are fractions, compared by cross-multiplication.
// Which duration was best is found afterwards, at the one bin that won.
#include "box_fold.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Elements that each lane chooses.
STARSKOPE_INLINE Ints gather(const int32_t* base, Ints index) {
#if defined(__AVX512F__)
    return (Ints)_mm512_mask_i32gather_epi32(__m512i{}, 0xffff, (__m512i)index, base, 4);
#elif defined(__AVX2__)
    return (Ints)_mm256_i32gather_epi32(base, (__m256i)index, 4);
#else
    Ints v{};
    for (int i = 0; i < lanes; ++i) {
        v[i] = base[index[i]];
    }
    return v;
#endif
}

STARSKOPE_INLINE Floats gather(const float* base, Ints index) {
#if defined(__AVX512F__)
    return _mm512_mask_i32gather_ps(__m512{}, 0xffff, (__m512i)index, base, 4);
#elif defined(__AVX2__)
    return _mm256_i32gather_ps(base, (__m256i)index, 4);
#else
    Floats v{};
    for (int i = 0; i < lanes; ++i) {
        v[i] = base[index[i]];
    }
    return v;
#endif
}

// The best of one group, as fractions; where weights are common the value is the root of the gain and nothing is below
// the line.
struct Best {
    Floats value[group];
    Floats over[group];
    Ints bin[group];
};

template <bool inverted, bool details>
__attribute__((noinline)) void search_common(const BoxTileJob& job, const int32_t* now, Best& dips, Best& rises) {
    Best dip = dips, rise = rises;
    const size_t n_duration = job.n_duration, n_bin = job.n_bin;
    for (size_t bin = 0; bin < n_bin; ++bin, now += group_series) {
        Ints before[group];
        Floats high[group], low[group];
        for (size_t v = 0; v < group; ++v) {
            before[v] = load_ints(now + v * lanes);
            high[v] = low[v] = Floats{};
        }
        const float* root = job.plan.root + bin;
        for (size_t k = 0; k < n_duration; ++k, root += n_bin) {
            const int32_t* const behind = now + size_t(job.duration[k]) * group_series;
            const Floats g = splat(*root);
#pragma GCC unroll 4
            for (size_t v = 0; v < group; ++v) {
                const Floats value = to_floats(before[v] - load_ints(behind + v * lanes)) * g;
                high[v] = greater(high[v], value);
                if constexpr (inverted) {
                    low[v] = lesser(low[v], value);
                }
            }
        }
#pragma GCC unroll 4
        for (size_t v = 0; v < group; ++v) {
            if constexpr (details) {
                dip.bin[v] = high[v] > dip.value[v] ? Ints{} + int32_t(bin) : dip.bin[v];
            }
            dip.value[v] = greater(dip.value[v], high[v]);
            if constexpr (inverted) {
                rise.value[v] = lesser(rise.value[v], low[v]);
            }
        }
    }
    dips = dip;
    rises = rise;
}

// in * out of a box, the weights inside and outside, times out / all for the objective of likelihood.
template <bool likelihood>
STARSKOPE_INLINE Floats below(Ints inside, Ints all, Floats share) {
    const Floats outside = to_floats(all - inside), over = to_floats(inside) * outside;
    return likelihood ? over * (outside * share) : over;
}

// Whether a / a_over is the greater fraction.
STARSKOPE_INLINE Ints exceeds(Floats a, Floats a_over, Floats b, Floats b_over) {
    return a * b_over > b * a_over;
}

// What two chains found: the better one, the earlier where they are equal.
STARSKOPE_INLINE void join(Best& one, const Best& other) {
    for (size_t v = 0; v < group; ++v) {
        const Ints better = exceeds(other.value[v], other.over[v], one.value[v], one.over[v]);
        const Ints worse = exceeds(one.value[v], one.over[v], other.value[v], other.over[v]);
        const Ints taken = better | (~worse & (other.bin[v] < one.bin[v]));
        one.value[v] = taken ? other.value[v] : one.value[v];
        one.over[v] = taken ? other.over[v] : one.over[v];
        one.bin[v] = taken ? other.bin[v] : one.bin[v];
    }
}

template <bool inverted, bool likelihood>
__attribute__((noinline)) void search_weighted(const BoxTileJob& job, const int32_t* now, const Ints* totals,
                                               Best& dips, Best& rises) {
    constexpr size_t size = 2 * group_series;
    // A comparison waits for the one before: with one vector in a group, neighbouring bins go in chains of their own.
    // The chains may run one bin over the end, which is the first bin once more.
    constexpr size_t chains = group == 1 ? 2 : 1;
    const size_t n_duration = job.n_duration, n_bin = job.n_bin;
    Best dip[chains], rise[chains];
    Ints all[group];
    Floats share[group];
    for (size_t c = 0; c < chains; ++c) {
        dip[c] = dips;
        rise[c] = rises;
    }
    for (size_t v = 0; v < group; ++v) {
        all[v] = totals[v];
        share[v] = 1.0f / to_floats(all[v]);
    }
    for (size_t bin = 0; bin < n_bin; bin += chains, now += chains * size) {
        Ints before[chains][group], weight[chains][group];
        for (size_t c = 0; c < chains; ++c) {
            for (size_t v = 0; v < group; ++v) {
                before[c][v] = load_ints(now + c * size + v * lanes);
                weight[c][v] = load_ints(now + c * size + group_series + v * lanes);
            }
        }
        for (size_t k = 0; k < n_duration; ++k) {
            const int32_t* const behind = now + size_t(job.duration[k]) * size;
#pragma GCC unroll 2
            for (size_t c = 0; c < chains; ++c) {
#pragma GCC unroll 4
                for (size_t v = 0; v < group; ++v) {
                    const int32_t* const end = behind + c * size + v * lanes;
                    const Floats missing = to_floats(before[c][v] - load_ints(end));
                    const Ints inside = load_ints(end + group_series) - weight[c][v];
                    const Floats over = below<likelihood>(inside, all[v], share[v]);
                    const Floats high = greater(missing, Floats{}), squared = high * high;
                    Best& down = dip[c];
                    const Ints deeper = exceeds(squared, over, down.value[v], down.over[v]);
                    down.value[v] = deeper ? squared : down.value[v];
                    down.over[v] = deeper ? over : down.over[v];
                    down.bin[v] = deeper ? Ints{} + int32_t(bin + c) : down.bin[v];
                    if constexpr (inverted) {
                        const Floats low = lesser(missing, Floats{}), square = low * low;
                        Best& up = rise[c];
                        const Ints brighter = exceeds(square, over, up.value[v], up.over[v]);
                        up.value[v] = brighter ? square : up.value[v];
                        up.over[v] = brighter ? over : up.over[v];
                    }
                }
            }
        }
    }
    for (size_t c = 1; c < chains; ++c) {
        join(dip[0], dip[c]);
        join(rise[0], rise[c]);
    }
    dips = dip[0];
    rises = rise[0];
}

// Duration and depth of the boxes that won at `bin`, one per star of the vector at `column`. `power` tells where there
// is none: 0, or NaN where nothing could be measured, is the depth there.
template <BoxWeights weights, bool likelihood>
STARSKOPE_INLINE void describe(const BoxTileJob& job, const int32_t* sums, size_t column, Ints bin, Ints all) {
    constexpr int32_t size = int32_t(row_size<weights>);
    constexpr bool common = weights == box_weights_common;
    Ints lane;
    for (int i = 0; i < lanes; ++i) {
        lane[i] = int32_t(column % group_series) + i;
    }
    const Ints from = bin * size + lane, before = gather(sums, from);
    const Floats share = 1.0f / to_floats(all);
    Floats value{}, over = splat(1.0f), depth{};
    Ints index{};
    for (size_t k = 0; k < job.n_duration; ++k) {
        const Ints to = from + job.duration[k] * size;
        const Floats missing = to_floats(before - gather(sums, to));
        Ints better;
        if constexpr (common) {
            const Floats now = missing * gather(job.plan.root + k * job.n_bin, bin);
            better = now > value;
            value = better ? now : value;
        } else {
            const Ints inside = gather(sums + group_series, to) - gather(sums + group_series, from);
            const Floats line = below<likelihood>(inside, all, share), high = greater(missing, Floats{});
            better = high * high * over > value * line;
            value = better ? high * high : value;
            over = better ? line : over;
        }
        index = better ? Ints{} + int32_t(k) : index;
        depth = better ? missing : depth;
    }
    for (int i = 0; i < lanes; ++i) {
        const size_t s = column + size_t(i), begin = size_t(bin[i]), end = begin + size_t(job.duration[index[i]]);
        double inside, total;
        if constexpr (common) {
            inside = job.plan.weight[end] - job.plan.weight[begin];
            total = job.plan.weight[job.n_bin];
        } else {
            const int32_t* const weight = sums + group_series + lane[i];
            inside = double(weight[end * size_t(size)] - weight[begin * size_t(size)]);
            total = double(all[i]);
        }
        const float power = job.power[s];
        const bool found = power > 0.0f;
        job.depth[s] = found ? float(double(depth[i]) * job.star[s].unit * total / (inside * (total - inside))) : power;
        job.index[s] = found ? index[i] : -1;
        job.start[s] = found ? bin[i] : -1;
    }
}

template <BoxWeights weights, bool inverted, bool details, bool likelihood>
void search(const BoxTileJob& job) {
    fold<weights>(job);
    for (size_t g = 0; g < width / group_series; ++g) {
        const int32_t* const sums = sums_of_group<weights>(job, g);
        Best dip{}, rise{};
        Ints all[group];
        for (size_t v = 0; v < group; ++v) {
            dip.over[v] = rise.over[v] = splat(1.0f);
            for (int i = 0; i < lanes; ++i) {
                all[v][i] = job.star[g * group_series + v * lanes + size_t(i)].total;
            }
        }
        if constexpr (weights == box_weights_common) {
            search_common<inverted, details>(job, sums, dip, rise);
        } else {
            search_weighted<inverted, likelihood>(job, sums, all, dip, rise);
        }
        for (size_t v = 0; v < group; ++v) {
            const size_t column = g * group_series + v * lanes;
            for (int i = 0; i < lanes; ++i) {
                const BoxStar& star = job.star[column + size_t(i)];
                const auto power = [&](const Best& best) __attribute__((always_inline)) {
                    const double value = best.value[v][i];
                    return weights == box_weights_common
                               ? float(value * value * star.gain)
                               : float(value / double(best.over[v][i]) * (0.5 * double(star.total) * star.gain));
                };
                job.power[column + size_t(i)] = power(dip);
                if constexpr (inverted) {
                    job.inverted[column + size_t(i)] = power(rise);
                }
            }
            if constexpr (details) {
                describe<weights, likelihood>(job, sums, column, dip.bin[v], all[v]);
            }
        }
    }
}

template <BoxWeights weights, bool likelihood>
void search_as_asked(const BoxTileJob& job) {
    if (job.index != nullptr) {
        job.inverted != nullptr ? search<weights, true, true, likelihood>(job)
                                : search<weights, false, true, likelihood>(job);
    } else {
        job.inverted != nullptr ? search<weights, true, false, likelihood>(job)
                                : search<weights, false, false, likelihood>(job);
    }
}

} // namespace

void box_tile(const BoxTileJob& job) {
    if (job.weights == box_weights_common) {
        search_as_asked<box_weights_common, false>(job); // the objective is in the roots already
    } else if (job.weights == box_weights_counted) {
        job.likelihood ? search_as_asked<box_weights_counted, true>(job)
                       : search_as_asked<box_weights_counted, false>(job);
    } else {
        job.likelihood ? search_as_asked<box_weights_own, true>(job) : search_as_asked<box_weights_own, false>(job);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
