// The box search of one star whose points were folded in stretches of time.
//
// Lanes are neighbouring phase bins of one period. A stretch of time has its points summed in phase bins, flux and
// weight; the sums of a longer stretch are those of its parts, each turned by the phase that passes between their
// middles. Sums of bins stand twice in a row, so that to turn them is to begin elsewhere.
#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

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

// Lanes moved up, zeros from below.
#if defined(__AVX512F__)
STARSKOPE_INLINE Ints running(Ints v) {
    const Ints zero{};
    v += __builtin_shufflevector(zero, v, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30);
    v += __builtin_shufflevector(zero, v, 0, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29);
    v += __builtin_shufflevector(zero, v, 0, 0, 0, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27);
    v += __builtin_shufflevector(zero, v, 0, 0, 0, 0, 0, 0, 0, 0, 16, 17, 18, 19, 20, 21, 22, 23);
    return v;
}
STARSKOPE_INLINE Ints last_lane(Ints v) {
    return __builtin_shufflevector(v, v, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15);
}
#elif defined(__AVX2__)
STARSKOPE_INLINE Ints running(Ints v) {
    const Ints zero{};
    v += __builtin_shufflevector(zero, v, 0, 8, 9, 10, 11, 12, 13, 14);
    v += __builtin_shufflevector(zero, v, 0, 0, 8, 9, 10, 11, 12, 13);
    v += __builtin_shufflevector(zero, v, 0, 0, 0, 0, 8, 9, 10, 11);
    return v;
}
STARSKOPE_INLINE Ints last_lane(Ints v) {
    return __builtin_shufflevector(v, v, 7, 7, 7, 7, 7, 7, 7, 7);
}
#else
STARSKOPE_INLINE Ints running(Ints v) {
    const Ints zero{};
    v += __builtin_shufflevector(zero, v, 0, 4, 5, 6);
    v += __builtin_shufflevector(zero, v, 0, 0, 4, 5);
    return v;
}
STARSKOPE_INLINE Ints last_lane(Ints v) {
    return __builtin_shufflevector(v, v, 3, 3, 3, 3);
}
#endif

// Parts added up, from `bin` on. Several vectors of a part at a time: each of its cache lines is asked for once.
template <size_t n>
STARSKOPE_INLINE void join_some(const int32_t* const* part, size_t n_part, size_t bin, Ints* sum) {
    for (size_t v = 0; v < n; ++v) {
        sum[v] = Ints{};
    }
    for (size_t i = 0; i < n_part; ++i) {
        const int32_t* const from = part[i] + bin;
#pragma GCC unroll 8
        for (size_t v = 0; v < n; ++v) {
            sum[v] += load_ints(from + v * lanes);
        }
    }
}

constexpr size_t together = 8; // vectors

// Calls take(bin, sum) for every vector of bins, in order.
template <class Take>
STARSKOPE_INLINE void join_parts(const int32_t* const* part, size_t n_part, size_t n_bin, Take take) {
    size_t bin = 0;
    Ints sum[together];
    for (; bin + together * lanes <= n_bin; bin += together * lanes) {
        join_some<together>(part, n_part, bin, sum);
#pragma GCC unroll 8
        for (size_t v = 0; v < together; ++v) {
            take(bin + v * lanes, sum[v]);
        }
    }
    for (; bin < n_bin; bin += lanes) {
        join_some<1>(part, n_part, bin, sum);
        take(bin, sum[0]);
    }
}

// Writes the running sums over bins of all parts, from 0 before the first bin on; returns the sum of all in every lane.
STARSKOPE_INLINE Ints run_up(const int32_t* const* part, size_t n_part, size_t n_bin, int32_t* out) {
    Ints before{};
    out[0] = 0;
    join_parts(part, n_part, n_bin, [&](size_t bin, Ints sum) __attribute__((always_inline)) {
        const Ints here = before + running(sum);
        store_ints(out + 1 + bin, here);
        before = last_lane(here);
    });
    return before;
}

template <bool likelihood, bool inverted>
void scan(const BoxScanJob& job) {
    const size_t n_bin = job.n_bin, n_duration = job.n_duration, longest = size_t(job.duration[n_duration - 1]);
    int32_t* const flux = job.running;
    int32_t* const weight = job.running + job.running_size;
    const Ints flux_before = run_up(job.part, job.n_part, n_bin, flux);
    const Ints weight_before = run_up(job.weight, job.n_part, n_bin, weight);
    // Behind the last bin the first ones once more; the sum over all fluxes is zero.
    for (size_t bin = 0; bin <= longest; bin += size_t(lanes)) {
        store_ints(flux + n_bin + bin, load_ints(flux + bin) + flux_before);
        store_ints(weight + n_bin + bin, load_ints(weight + bin) + weight_before);
    }
    const Ints all = weight_before;
    const Floats share = 1.0f / to_floats(all);
    Floats high{}, low{};
    for (size_t bin = 0; bin < n_bin; bin += size_t(lanes)) {
        const Ints flux_here = load_ints(flux + bin), weight_here = load_ints(weight + bin);
        for (size_t k = 0; k < n_duration; ++k) {
            const size_t end = bin + size_t(job.duration[k]);
            const Floats missing = to_floats(flux_here - load_ints(flux + end));
            const Ints inside = load_ints(weight + end) - weight_here;
            const Floats outside = to_floats(all - inside);
            Floats over = to_floats(inside) * outside;
            if constexpr (likelihood) {
                over *= outside * share;
            }
            // Nothing inside or nothing outside: 0 / 0, which no comparison takes.
            if constexpr (inverted) {
                const Floats signed_gain = missing * (missing < 0.0f ? -missing : missing) / over;
                high = greater(signed_gain, high);
                low = lesser(signed_gain, low);
            } else {
                const Floats dip = greater(missing, Floats{});
                high = greater(dip * dip / over, high);
            }
        }
    }
    float best = 0.0f, worst = 0.0f;
    for (int i = 0; i < lanes; ++i) {
        best = high[i] > best ? high[i] : best;
        worst = low[i] < worst ? low[i] : worst;
    }
    const double unit = 0.5 * double(all[0]) * job.gain;
    *job.power = float(double(best) * unit);
    if constexpr (inverted) {
        *job.inverted = float(-double(worst) * unit);
    }
}

} // namespace

void box_fold(const BoxFoldJob& job) {
    const size_t n_bin = job.n_bin;
    const double frequency = job.frequency, centre = job.centre, bins = double(n_bin), last = double(n_bin - 1);
    for (size_t i = 0; i < job.n_point; ++i) {
        const double turns = (job.time[i] - centre) * frequency;
        double at = (turns - __builtin_floor(turns)) * bins;
        at = at >= 0.0 ? at : 0.0; // no number where a period is too small for one
        at = at > last ? last : at;
        job.scratch[i] = uint32_t(int32_t(at));
    }
    int32_t* const flux = job.sums;
    int32_t* const weight = job.sums + 2 * n_bin;
    for (size_t bin = 0; bin < n_bin; ++bin) {
        flux[bin] = weight[bin] = 0;
    }
    for (size_t i = 0; i < job.n_point; ++i) {
        const size_t bin = job.scratch[i];
        flux[bin] += job.flux[i];
        weight[bin] += job.weight[i];
    }
    for (size_t bin = 0; bin < n_bin; bin += size_t(lanes)) {
        store_ints(flux + n_bin + bin, load_ints(flux + bin));
        store_ints(weight + n_bin + bin, load_ints(weight + bin));
    }
}

void box_join(const BoxJoinJob& job) {
    const size_t n_bin = job.n_bin;
    const auto join = [&](const int32_t* const* part, int32_t* out) __attribute__((always_inline)) {
        join_parts(part, job.n_part, n_bin, [&](size_t bin, Ints sum) __attribute__((always_inline)) {
            store_ints(out + bin, sum);
            store_ints(out + n_bin + bin, sum);
        });
    };
    join(job.part, job.sums);
    join(job.weight, job.sums + 2 * n_bin);
}

void box_scan(const BoxScanJob& job) {
    if (job.likelihood) {
        job.inverted != nullptr ? scan<true, true>(job) : scan<true, false>(job);
    } else {
        job.inverted != nullptr ? scan<false, true>(job) : scan<false, false>(job);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
