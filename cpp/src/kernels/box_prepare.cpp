// Series of one tile of stars to fixed point.
//
// Every point becomes an integer u = round(scale * weight * (flux - mean)) such that the sum over any box fits 32 bits.
// Sums of integers are exact in any order, and differences of running sums stay exact where these overflow: the box
// search needs no float64, folds in any order and gives every instruction set the same bits. Rounding errors are handed
// on to the next point, and the last one makes the total exactly zero, so that a box and its complement agree.
#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr size_t width = box_tile_series;
constexpr double nothing = 1e-280; // a sum of deviations below is rounding dust of a constant

// Inverse variance; 0 where there is no usable point.
STARSKOPE_INLINE double weight_of(float flux, float error) {
    const double x = flux, inverse = 1.0 / double(error);
    const double w = inverse * inverse;
    return (x - x == 0.0) & (w - w == 0.0) ? w : 0.0;
}

struct Sums {
    double first[width]; // the first point: differences from it are exact, so a constant series stays one
    double count[width];
    double raw[width];      // sum of weights as they are
    double to_fixed[width]; // weights to integers
    double total[width];    // sum of weights as they are used
    double mean[width];
    double scale[width];
};

} // namespace

void box_prepare(const BoxPrepareJob& job) {
    const size_t n = job.n_time;
    const bool own = job.weights == box_weights_own, counted = job.weights == box_weights_counted;
    const size_t row_size = own ? 2 * width : width;
    Sums sums{};
    // The weight as used; 0 = missing.
    const auto used = [&](size_t i, size_t s) __attribute__((always_inline)) {
        if (own) {
            return __builtin_floor(weight_of(job.flux[i * width + s], job.error[i * width + s]) * sums.to_fixed[s] +
                                   0.5);
        }
        if (counted) {
            return weight_of(job.flux[i * width + s], job.error[i * width + s]) > 0.0 ? 1.0 : 0.0;
        }
        return job.shared == nullptr ? 1.0 : job.shared[i];
    };
    const auto deviation = [&](size_t i, size_t s) __attribute__((always_inline)) {
        const double w = used(i, s);
        return w > 0.0 ? w * (double(job.flux[i * width + s]) - sums.first[s] - sums.mean[s]) : 0.0;
    };
    for (size_t i = 0; i < n; ++i) {
        for (size_t s = 0; s < width; ++s) {
            const float x = job.flux[i * width + s];
            const double w = weight_of(x, job.error[i * width + s]);
            sums.first[s] = sums.count[s] == 0.0 && w > 0.0 ? double(x) : sums.first[s];
            sums.count[s] += w > 0.0 ? 1.0 : 0.0;
            sums.raw[s] += w;
        }
    }
    constexpr double top = 2147483647.0;
    for (size_t s = 0; s < width; ++s) {
        // Half the range: behind the last bin the sum of all is added to that of the first bins.
        sums.to_fixed[s] = sums.raw[s] > 0.0 ? (0.5 * top - double(n)) / sums.raw[s] : 0.0;
    }
    for (size_t i = 0; i < n; ++i) {
        for (size_t s = 0; s < width; ++s) {
            const double w = used(i, s);
            sums.total[s] += w;
            sums.mean[s] += w > 0.0 ? w * (double(job.flux[i * width + s]) - sums.first[s]) : 0.0;
        }
    }
    for (size_t s = 0; s < width; ++s) {
        sums.mean[s] = sums.total[s] > 0.0 ? sums.mean[s] / sums.total[s] : 0.0;
    }
    double spread[width] = {};
    for (size_t i = 0; i < n; ++i) {
        for (size_t s = 0; s < width; ++s) {
            spread[s] += __builtin_fabs(deviation(i, s));
        }
    }
    double carry[width] = {};
    int64_t last[width], rest[width] = {};
    for (size_t s = 0; s < width; ++s) {
        // What lies above the mean is as much as lies below, so no box holds more than half the spread.
        sums.scale[s] = spread[s] > nothing ? 2.0 * (top - 2.0 * double(n)) / spread[s] : 0.0;
        last[s] = -1;
    }
    for (size_t i = 0; i < n; ++i) {
        int32_t* const row = job.series + i * row_size;
        for (size_t s = 0; s < width; ++s) {
            const double w = used(i, s);
            const double x = deviation(i, s) * sums.scale[s] + (w > 0.0 ? carry[s] : 0.0);
            const double fixed = __builtin_floor(x + 0.5);
            carry[s] = w > 0.0 ? x - fixed : carry[s];
            row[s] = int32_t(fixed);
            rest[s] -= row[s];
            last[s] = w > 0.0 ? int64_t(i) : last[s];
            if (own) {
                row[width + s] = int32_t(w);
            }
            if (counted) {
                job.counted[i * width + s] = uint8_t(w);
            }
        }
    }
    for (size_t s = 0; s < width; ++s) {
        if (last[s] >= 0) {
            int32_t& end = job.series[size_t(last[s]) * row_size + s];
            end = int32_t(end + rest[s]);
        }
        BoxStar& star = job.star[s];
        const double unit = sums.scale[s] > 0.0 ? 1.0 / sums.scale[s] : 0.0;
        // A gain in the weights as used, to one in inverse variances: the ratio of the two sums.
        const double to_raw = sums.total[s] > 0.0 ? sums.raw[s] / sums.total[s] : 0.0;
        star.unit = unit;
        star.gain = sums.count[s] < 2.0 ? __builtin_nan("") : unit * unit * to_raw;
        star.total = int32_t(own || counted ? sums.total[s] : 0.0);
        star.weight = sums.raw[s];
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
