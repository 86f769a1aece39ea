// Folding the points of one star and comparing boxes and trapezoids with them, in float64.
//
// Sums are taken in the order of the points and none is split over lanes, so that every instruction set gives the same
// bytes. What vectors can do is kept apart from what they cannot: phases and cells of all points first, without a
// branch, then their sums; of a row of boxes first whether any may beat the best, which is seldom so.
#include <math.h>

#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

typedef double Pair __attribute__((vector_size(16)));

STARSKOPE_INLINE double smaller(double a, double b) {
    return b < a ? b : a;
}

STARSKOPE_INLINE double larger(double a, double b) {
    return b > a ? b : a;
}

STARSKOPE_INLINE Pair pair_at(const double* p) {
    Pair v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

// Area of a trapezoid of depth 1, flat to `inner` and ending at `outer`, from 0 to x.
STARSKOPE_INLINE double ramp(double x, double outer, double inner) {
    const double a = smaller(fabs(x), outer);
    double area = smaller(a, inner);
    if (a > inner) {
        area += (a - inner) - 0.5 * ((a - inner) * (a - inner)) / (outer - inner);
    }
    return x >= 0.0 ? area : -area;
}

// Whether any box between two rows of running sums may beat the best.
__attribute__((noinline)) bool may_be_better(const double* w_before, const double* w_after, const double* y_before,
                                             const double* y_after, size_t n, double total, double best) {
    int64_t found = 0;
    for (size_t i = 0; i < n; ++i) {
        const double y = y_after[i] - y_before[i], w = w_after[i] - w_before[i];
        found |= int64_t(y < 0.0) & int64_t(y * y * total > best * (w * (total - w)));
    }
    return found != 0;
}

// Keeps the points that fall into the window at any frequency: offsets, and weights beside weighted fluxes.
size_t keep_near(const NearBoxJob& job) {
    const double highest = job.highest, middle = 0.5 * (job.lowest + highest), epoch = job.epoch, mean = job.mean;
    const double reach = job.half_window * highest + 1e-9;
    const double* __restrict time = job.time, * __restrict flux = job.flux, * __restrict weight = job.weight;
    uint8_t* __restrict near = job.near;
    if (reach >= 0.5) {
        __builtin_memset(near, 1, job.n_point);
    } else {
        for (size_t i = 0, n = job.n_point; i < n; ++i) {
            const double offset = time[i] - epoch, turns = offset * middle;
            // Turns between the frequency in the middle and the others.
            near[i] = fabs(turns - floor(turns + 0.5)) <= reach + fabs(offset) * (highest - middle);
        }
    }
    double* __restrict offset = job.offset, * __restrict weighted = job.weighted;
    size_t m = 0;
    // A store that the next one overwrites, instead of a branch.
    for (size_t i = 0, n = job.n_point; i < n; ++i) {
        offset[m] = time[i] - epoch;
        weighted[2 * m] = weight[i];
        weighted[2 * m + 1] = weight[i] * (flux[i] - mean);
        m += near[i];
    }
    return m;
}

void near_boxes(NearBoxJob& job) {
    const size_t n_point = keep_near(job), n_cell = job.n_cell;
    const double reach = job.half_window, total = job.total_weight;
    const double per_cell = double(n_cell) / (2.0 * reach), last = double(n_cell) - 1.0, outside = double(n_cell);
    double *w = job.running, *y = w + n_cell + 1;
    const double* __restrict offset = job.offset;
    int32_t* __restrict cell = job.cell;
    double best = 0.0;
    for (size_t j = 0; j < job.n_frequency; ++j) {
        const double frequency = job.frequency[j], period = 1.0 / frequency;
        for (size_t i = 0; i < n_point; ++i) {
            const double turns = offset[i] * frequency;
            const double here = (turns - floor(turns + 0.5)) * period;
            const double place = smaller(last, (here + reach) * per_cell);
            cell[i] = int32_t((here >= -reach) & (here < reach) ? place : outside);
        }
        __builtin_memset(job.sums, 0, 2 * (n_cell + 1) * sizeof(double));
        for (size_t i = 0; i < n_point; ++i) {
            double* sum = job.sums + 2 * cell[i];
            const Pair added = pair_at(sum) + pair_at(job.weighted + 2 * i);
            __builtin_memcpy(sum, &added, sizeof added);
        }
        w[0] = y[0] = 0.0;
        for (size_t c = 0; c < n_cell; ++c) {
            w[c + 1] = job.sums[2 * c] + w[c];
            y[c + 1] = job.sums[2 * c + 1] + y[c];
        }
        for (size_t n = job.least; n <= job.most && n <= n_cell; ++n) {
            if (!may_be_better(w, w + n, y, y + n, n_cell - n + 1, total, best)) {
                continue;
            }
            for (size_t first = 0; first <= n_cell - n; ++first) {
                const double y_in = y[first + n] - y[first];
                if (y_in >= 0.0) {
                    continue;
                }
                // With the mean taken out depth is -y_in W / (w_in w_out); no division until a box is the best.
                const double w_in = w[first + n] - w[first], w_out = total - w_in;
                if (!(w_in <= 0.0 || w_out <= 0.0 || y_in * y_in * total <= best * (w_in * w_out))) {
                    best = y_in * y_in * total / (w_in * w_out);
                    job.i_frequency = j;
                    job.first = first;
                    job.n = n;
                }
            }
        }
    }
    job.gain = best;
}

void event_sums(const EventJob& job) {
    const double outer = 0.5 * job.length, inner = outer * job.bottom, half_smear = 0.5 * job.smear;
    const double peak = job.length > 0.0 ? 2.0 * ramp(half_smear, outer, inner) : 1.0;
    const double reach = smaller(larger(0.5, outer + half_smear) * job.duration, 0.5 * job.period);
    const double t0 = job.t0, period = job.period;
    const double* __restrict time = job.time;
    double* __restrict number = job.number, * __restrict offset = job.offset;
    for (size_t i = 0, n = job.n_point; i < n; ++i) {
        number[i] = floor((time[i] - t0) / period + 0.5);
        offset[i] = time[i] - t0 - number[i] * period;
    }
    for (size_t i = 0; i < job.n_point; ++i) {
        if (!(fabs(offset[i]) < reach)) {
            continue;
        }
        const size_t k = size_t(number[i] - job.first);
        const double x = offset[i] / job.duration;
        const bool inside = fabs(x) < 0.5;
        job.count[k] += inside ? 1.0 : 0.0;
        const double m = job.length > 0.0
                             ? (ramp(x + half_smear, outer, inner) - ramp(x - half_smear, outer, inner)) / peak
                             : (inside ? 1.0 : 0.0);
        job.wm[k] += job.weight[i] * m;
        job.wmm[k] += job.weight[i] * m * m;
        job.wmy[k] += job.weight[i] * m * (job.flux[i] - job.level);
    }
}

// 1 where a time lies no nearer than half_width to an event, and 0 elsewhere.
void mark_away(const QuietJob& job, double t0, bool first) {
    const double period = job.period, half_width = job.half_width;
    const double* __restrict time = job.time;
    uint8_t* __restrict away = job.away;
    for (size_t i = 0, n = job.n_point; i < n; ++i) {
        const double offset = time[i] - t0;
        const bool is_away = !(fabs(offset - period * rint(offset / period)) < half_width);
        away[i] = uint8_t(is_away & (first | (away[i] != 0)));
    }
}

void quiet_points(QuietJob& job) {
    mark_away(job, job.t0, true);
    if (job.other_t0 == job.other_t0) {
        mark_away(job, job.other_t0, false);
    }
    const double* __restrict time = job.time, * __restrict flux = job.flux, * __restrict weight = job.weight;
    const uint8_t* __restrict away = job.away;
    double* __restrict kept_time = job.quiet_time, * __restrict kept_flux = job.quiet_flux;
    double* __restrict kept_weight = job.quiet_weight;
    size_t m = 0;
    for (size_t i = 0, n = job.n_point; i < n; ++i) {
        kept_time[m] = time[i];
        kept_flux[m] = flux[i];
        kept_weight[m] = weight[i];
        m += away[i];
    }
    job.n_quiet = m;
}

void phase_sums(const PhaseJob& job) {
    const double cells = double(job.n_cell), t0 = job.t0, period = job.period;
    const double* __restrict time = job.time;
    int32_t* __restrict cell = job.cell;
    for (size_t i = 0, n = job.n_point; i < n; ++i) {
        const double turns = (time[i] - t0) / period;
        cell[i] = int32_t(smaller(cells - 1.0, (turns - floor(turns)) * cells));
    }
    for (size_t i = 0; i < job.n_point; ++i) {
        job.sum_w[cell[i]] += job.weight[i];
        job.sum_y[cell[i]] += job.weight[i] * (job.flux[i] - job.level);
    }
}

void shapes(const ShapeJob& job) {
    const size_t n_lane = job.n_lane;
    const double* __restrict shift = job.shift;
    double *inner = job.scratch, *slope = inner + n_lane, *mm = slope + n_lane, *my = mm + n_lane;
    const double half_smear = 0.5 * job.smear;
    double yy = 0.0;
    for (size_t i = 0; i < job.n_point; ++i) {
        yy += job.weight[i] * job.flux[i] * job.flux[i];
    }
    for (size_t l = 0; l < job.n_length; ++l) {
        const double outer = 0.5 * job.length[l];
        for (size_t k = 0; k < n_lane; ++k) {
            inner[k] = outer * job.bottom[k];
            slope[k] = 0.5 / (outer - inner[k]);
            mm[k] = my[k] = 0.0;
        }
        for (size_t i = 0; i < job.n_point; ++i) {
            const double here = job.place[i], weight = job.weight[i], flux = job.flux[i];
            // All bottoms and shifts at once; `ramp` without its branches. The height of the middle divides out.
            for (size_t k = 0; k < n_lane; ++k) {
                const double low = here - shift[k] - half_smear, high = here - shift[k] + half_smear;
                const double to_low = smaller(fabs(low), outer), to_high = smaller(fabs(high), outer);
                const double on_low = larger(to_low - inner[k], 0.0), on_high = larger(to_high - inner[k], 0.0);
                const double area_low = to_low - slope[k] * on_low * on_low;
                const double area_high = to_high - slope[k] * on_high * on_high;
                const double model = (high >= 0.0 ? area_high : -area_high) - (low >= 0.0 ? area_low : -area_low);
                mm[k] += weight * model * model;
                my[k] += weight * model * flux;
            }
        }
        for (size_t k = 0; k < n_lane; ++k) {
            job.chi2[l * n_lane + k] = mm[k] > 0.0 && my[k] < 0.0 ? yy - my[k] * my[k] / mm[k] : yy;
        }
    }
}

} // namespace

const DipKernels dips = {
    .near_boxes = near_boxes,
    .event_sums = event_sums,
    .quiet_points = quiet_points,
    .phase_sums = phase_sums,
    .shapes = shapes,
};

} // namespace starskope::detail::STARSKOPE_VARIANT
