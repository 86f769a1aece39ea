// The box search proper: bins of a period once for all stars, then per tile of stars a fold and the best box.
//
// Folding adds the rows of a tile in order of their bins, so running sums C over bins are written as they arise. A box
// of d bins from bin b holds C[b + d] - C[b]. With the common weights of all stars its gain is the square of
// (C[b] - C[b + d]) root[d][b], root computed once per period: per box and vector of stars one difference, one product,
// one maximum. Where stars have weights of their own gains are fractions, compared by cross-multiplication. Which
// duration was best is found afterwards, at the one bin that won.
#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t width = box_tile_series;
constexpr size_t vectors = width / lanes;
constexpr size_t group = vectors < 2 ? 1 : 2; // vectors whose best boxes are held in registers together

STARSKOPE_INLINE Ints load_ints(const int32_t* p) {
    Ints v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

STARSKOPE_INLINE void store_ints(int32_t* p, Ints v) {
    __builtin_memcpy(p, &v, sizeof v);
}

STARSKOPE_INLINE Floats to_floats(Ints v) {
    return __builtin_convertvector(v, Floats);
}

// Running sums over bins of rows `parts` tiles wide, from all zeros at bin 0; the first `more` bins follow once more
// behind the last, where the sum over all is zero (series) or `total` (weights).
template <size_t parts>
STARSKOPE_INLINE void fold(const BoxTileJob& job, size_t more, const int32_t* total) {
    constexpr size_t n = parts * vectors, size = parts * width;
    Ints sum[n]{};
    int32_t* out = job.folded;
    const uint32_t* row = job.plan.row;
    for (size_t bin = 0; bin < job.n_bin; ++bin) {
#pragma GCC unroll 16
        for (size_t v = 0; v < n; ++v) {
            store_ints(out + v * lanes, sum[v]);
        }
        out += size;
        const uint32_t* const end = job.plan.row + job.plan.begin[bin + 1];
        for (; row < end; ++row) {
            const int32_t* const point = job.series + size_t(*row) * size;
#pragma GCC unroll 16
            for (size_t v = 0; v < n; ++v) {
                sum[v] += load_ints(point + v * lanes);
            }
        }
    }
    for (size_t bin = 0; bin <= more; ++bin, out += size) {
#pragma GCC unroll 16
        for (size_t v = 0; v < n; ++v) {
            const Ints again = load_ints(job.folded + bin * size + v * lanes);
            store_ints(out + v * lanes, v < vectors ? again : again + load_ints(total + (v - vectors) * lanes));
        }
    }
}

// The best of `group` vectors: dips and, turned upside down, brightenings, as fractions with the same denominator 1
// where weights are common.
struct Best {
    Floats value[group];
    Floats over[group];
    Ints bin[group];
};

template <bool inverted, bool details>
STARSKOPE_INLINE void search_common(const BoxTileJob& job, size_t column, Best& dip, Best& rise) {
    const size_t n_duration = job.n_duration;
    const int32_t* now = job.folded + column;
    for (size_t bin = 0; bin < job.n_bin; ++bin, now += width) {
        Ints before[group];
        Floats high[group], low[group];
        for (size_t v = 0; v < group; ++v) {
            before[v] = load_ints(now + v * lanes);
            high[v] = low[v] = Floats{};
        }
        const float* root = job.plan.root + bin;
        for (size_t k = 0; k < n_duration; ++k, root += job.n_bin) {
            const int32_t* const behind = now + size_t(job.duration[k]) * width;
            const Floats g = splat(*root);
#pragma GCC unroll 2
            for (size_t v = 0; v < group; ++v) {
                const Floats value = to_floats(before[v] - load_ints(behind + v * lanes)) * g;
                high[v] = greater(high[v], value);
                if constexpr (inverted) {
                    low[v] = lesser(low[v], value);
                }
            }
        }
#pragma GCC unroll 2
        for (size_t v = 0; v < group; ++v) {
            if constexpr (details) {
                const Ints better = high[v] > dip.value[v];
                dip.bin[v] = better ? Ints{} + int32_t(bin) : dip.bin[v];
            }
            dip.value[v] = greater(dip.value[v], high[v]);
            if constexpr (inverted) {
                rise.value[v] = lesser(rise.value[v], low[v]);
            }
        }
    }
}

template <bool inverted, bool likelihood>
STARSKOPE_INLINE void search_weighted(const BoxTileJob& job, size_t column, const int32_t* total, Best& dip,
                                      Best& rise) {
    constexpr size_t size = 2 * width;
    const size_t n_duration = job.n_duration;
    Ints all[group];
    Floats share[group];
    for (size_t v = 0; v < group; ++v) {
        all[v] = load_ints(total + column + v * lanes);
        share[v] = 1.0f / to_floats(all[v]);
    }
    const int32_t* now = job.folded + column;
    for (size_t bin = 0; bin < job.n_bin; ++bin, now += size) {
        Ints before[group], weight_before[group];
        for (size_t v = 0; v < group; ++v) {
            before[v] = load_ints(now + v * lanes);
            weight_before[v] = load_ints(now + width + v * lanes);
        }
        for (size_t k = 0; k < n_duration; ++k) {
            const int32_t* const behind = now + size_t(job.duration[k]) * size;
#pragma GCC unroll 2
            for (size_t v = 0; v < group; ++v) {
                const Floats missing = to_floats(before[v] - load_ints(behind + v * lanes));
                const Ints inside = load_ints(behind + width + v * lanes) - weight_before[v];
                const Floats outside = to_floats(all[v] - inside);
                Floats over = to_floats(inside) * outside;
                if constexpr (likelihood) {
                    over *= outside * share[v];
                }
                const Floats high = greater(missing, Floats{}), squared = high * high;
                const Ints better = squared * dip.over[v] > dip.value[v] * over;
                dip.value[v] = better ? squared : dip.value[v];
                dip.over[v] = better ? over : dip.over[v];
                dip.bin[v] = better ? Ints{} + int32_t(bin) : dip.bin[v];
                if constexpr (inverted) {
                    const Floats low = lesser(missing, Floats{}), square = low * low;
                    const Ints brighter = square * rise.over[v] > rise.value[v] * over;
                    rise.value[v] = brighter ? square : rise.value[v];
                    rise.over[v] = brighter ? over : rise.over[v];
                }
            }
        }
    }
}

// Depth and duration of the box that won at `bin`: the duration of the greatest gain there.
template <bool weighted>
void describe(const BoxTileJob& job, size_t s, int32_t bin, float power) {
    constexpr size_t size = weighted ? 2 * width : width;
    const BoxStar& star = job.star[s];
    job.index[s] = job.start[s] = -1;
    job.depth[s] = power; // 0, or NaN where there is nothing to measure
    if (!(power > 0.0f)) {
        return;
    }
    const int32_t* const from = job.folded + size_t(bin) * size + s;
    const double all = weighted ? double(star.total) : job.plan.weight[job.n_bin];
    double most = -1.0;
    for (size_t k = 0; k < job.n_duration; ++k) {
        const size_t end = size_t(bin) + size_t(job.duration[k]);
        const int32_t* const to = job.folded + end * size + s;
        const double missing = double(*from - *to);
        const double inside = weighted ? double(to[width] - from[width]) : job.plan.weight[end] - job.plan.weight[bin];
        const double over = inside * (all - inside);
        const double gain = missing * missing / (job.likelihood ? over * (all - inside) : over);
        if (missing > 0.0 && over > 0.0 && gain > most) {
            most = gain;
            job.index[s] = int32_t(k);
            job.start[s] = bin;
            job.depth[s] = float(missing * star.unit * all / over);
        }
    }
}

template <bool inverted, bool details>
void tile_common(const BoxTileJob& job) {
    fold<1>(job, size_t(job.duration[job.n_duration - 1]), nullptr);
    for (size_t column = 0; column < width; column += group * lanes) {
        Best dip{}, rise{};
        search_common<inverted, details>(job, column, dip, rise);
        for (size_t i = 0; i < group * lanes; ++i) {
            const size_t v = i / lanes, lane = i % lanes, s = column + i;
            const double root = dip.value[v][lane];
            job.power[s] = float(root * root * job.star[s].gain);
            if constexpr (inverted) {
                const double other = rise.value[v][lane];
                job.inverted[s] = float(other * other * job.star[s].gain);
            }
            if constexpr (details) {
                describe<false>(job, s, dip.bin[v][lane], job.power[s]);
            }
        }
    }
}

template <bool inverted, bool likelihood>
void tile_weighted(const BoxTileJob& job) {
    alignas(64) int32_t total[width];
    for (size_t s = 0; s < width; ++s) {
        total[s] = job.star[s].total;
    }
    fold<2>(job, size_t(job.duration[job.n_duration - 1]), total);
    for (size_t column = 0; column < width; column += group * lanes) {
        Best dip{}, rise{};
        for (size_t v = 0; v < group; ++v) {
            dip.over[v] = rise.over[v] = splat(1.0f);
        }
        search_weighted<inverted, likelihood>(job, column, total, dip, rise);
        for (size_t i = 0; i < group * lanes; ++i) {
            const size_t v = i / lanes, lane = i % lanes, s = column + i;
            const double half_total = 0.5 * double(total[s]) * job.star[s].gain;
            job.power[s] = float(double(dip.value[v][lane]) / double(dip.over[v][lane]) * half_total);
            if constexpr (inverted) {
                job.inverted[s] = float(double(rise.value[v][lane]) / double(rise.over[v][lane]) * half_total);
            }
            if (job.index != nullptr) {
                describe<true>(job, s, dip.bin[v][lane], job.power[s]);
            }
        }
    }
}

} // namespace

void box_plan(const BoxPlanJob& job) {
    const size_t n = job.n_time, n_bin = job.n_bin;
    const double period = job.period, bin_width = job.bin_width;
    uint32_t* const bin = job.scratch;
    // Phases as astropy computes them, so that a regular cadence on bin edges falls to the same side.
    const double last = double(n_bin - 1);
    for (size_t i = 0; i < n; ++i) {
        const double x = job.time[i];
        double at = (x - period * __builtin_floor(x / period)) / bin_width;
        at = at < 0.0 ? 0.0 : at;
        at = at > last ? last : at;
        bin[i] = uint32_t(int32_t(at));
    }
    uint32_t* const begin = job.plan.begin;
    for (size_t b = 0; b <= n_bin; ++b) {
        begin[b] = 0;
    }
    for (size_t i = 0; i < n; ++i) {
        ++begin[bin[i] + 1 < n_bin ? bin[i] + 2 : 0];
    }
    begin[0] = 0;
    for (size_t b = 1; b <= n_bin; ++b) {
        begin[b] += begin[b - 1];
    }
    // begin[b + 1] is where bin b begins, and moves to where it ends.
    for (size_t i = 0; i < n; ++i) {
        job.plan.row[begin[bin[i] + 1]++] = uint32_t(i);
    }
    if (!job.weights) {
        return;
    }
    const size_t longest = size_t(job.duration[job.n_duration - 1]);
    double* const weight = job.plan.weight;
    weight[0] = 0.0;
    if (job.shared == nullptr) {
        for (size_t b = 1; b <= n_bin; ++b) {
            weight[b] = double(begin[b]);
        }
    } else {
        double sum = 0.0;
        for (size_t b = 0; b < n_bin; ++b) {
            for (size_t i = begin[b]; i < begin[b + 1]; ++i) {
                sum += job.shared[job.plan.row[i]];
            }
            weight[b + 1] = sum;
        }
    }
    const double all = weight[n_bin];
    for (size_t b = 1; b <= longest; ++b) {
        weight[n_bin + b] = all + weight[b];
    }
    for (size_t k = 0; k < job.n_duration; ++k) {
        float* const root = job.plan.root + k * n_bin;
        const double* const behind = weight + job.duration[k];
        for (size_t b = 0; b < n_bin; ++b) {
            const double inside = behind[b] - weight[b], outside = all - inside;
            // All or nothing inside: the points in the box and those outside cannot be told apart.
            const bool fair = (inside > 1e-12 * all) & (outside > 1e-12 * all);
            const double over = 2.0 * inside * outside * (job.likelihood ? outside / all : 1.0);
            root[b] = fair ? float(__builtin_sqrt(all / over)) : 0.0f;
        }
    }
}

void box_tile(const BoxTileJob& job) {
    const bool inverted = job.inverted != nullptr, details = job.index != nullptr;
    if (job.weighted) {
        if (job.likelihood) {
            inverted ? tile_weighted<true, true>(job) : tile_weighted<false, true>(job);
        } else {
            inverted ? tile_weighted<true, false>(job) : tile_weighted<false, false>(job);
        }
    } else if (details) {
        inverted ? tile_common<true, true>(job) : tile_common<false, true>(job);
    } else {
        inverted ? tile_common<true, false>(job) : tile_common<false, false>(job);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
