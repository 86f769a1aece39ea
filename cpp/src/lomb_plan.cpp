#include "lomb_plan.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

#include "factors.hpp"
#include "planner.hpp"
#include "recent_plans.hpp"

namespace starskope::detail {
namespace {

constexpr double support = double(lomb_taps);

// Modified Bessel function of order 0, by its power series: arguments stay below 30.
double bessel_i0(double x) {
    double term = 1.0, sum = 1.0;
    for (double k = 1.0; term > 1e-17 * sum; k += 1.0) {
        term *= (0.5 * x / k) * (0.5 * x / k);
        sum += term;
    }
    return sum;
}

// Kaiser and Bessel's window, `support` elements wide, and its Fourier transform. With n_time samples on a transform
// sigma times as long, what folds back from beyond it is below 4e-7 of a sample for sigma of 1.97, 3e-7 for 2.
class Window {
  public:
    explicit Window(double sigma)
        : beta_(0.965 * std::numbers::pi * support * (1.0 - 0.5 / sigma)), norm_(bessel_i0(beta_)) {}

    double at(double elements) const {
        const double x = 2.0 * elements / support;
        return std::abs(x) < 1.0 ? bessel_i0(beta_ * std::sqrt(1.0 - x * x)) / norm_ : 0.0;
    }

    double transformed(double cycles_per_element) const {
        const double x = std::numbers::pi * support * cycles_per_element;
        const double s = std::sqrt(beta_ * beta_ - x * x); // |cycles| <= 1 / (2 sigma): beta is larger
        return support * std::sinh(s) / (s * norm_);
    }

  private:
    double beta_, norm_;
};

std::size_t fine_length(std::size_t n_time) {
    return cheap_length(std::max<std::size_t>(2 * lomb_taps, n_time + n_time - n_time / 64));
}

class Planner {
  public:
    Planner(std::size_t n_time, std::size_t n_fft);
    LombGrid grid{};

  private:
    std::shared_ptr<const FftGrid> exact_, fine_;
    std::vector<std::uint32_t> order_, place_;
    std::vector<float> lift_, taps_;
    std::vector<std::int32_t> first_;
};

Planner::Planner(std::size_t n_time, std::size_t n_fft)
    : exact_(plan_fft(n_time, n_fft)), fine_(plan_fft(fine_length(n_time), fine_length(n_time))), order_(n_time) {
    const std::size_t length = fine_->n_fft, centre = n_time / 2;
    const Window window(double(length) / double(std::max<std::size_t>(n_time, 1)));
    std::iota(order_.begin(), order_.end(), 0u);
    for (std::size_t j = 0; j < length; ++j) {
        place_.push_back(fine_->plan.place[(j + length - centre) % length]);
    }
    for (std::size_t j = 0; j < n_time; ++j) {
        lift_.push_back(float(1.0 / window.transformed((double(j) - double(centre)) / double(length))));
    }
    // Frequencies k and k + period lie alike between elements of the transform.
    const std::size_t period = n_fft / std::gcd(length, n_fft), n_row = n_fft / 2 + 1;
    taps_.resize(n_row * lomb_taps);
    for (std::size_t k = 0; k < n_row; ++k) {
        const std::size_t whole = length * k / n_fft, rest = length * k % n_fft;
        first_.push_back(std::int32_t(whole) + 1 - std::int32_t(lomb_taps / 2));
        float* const taps = &taps_[k * lomb_taps];
        if (k >= period) {
            std::copy_n(taps - period * lomb_taps, lomb_taps, taps);
            continue;
        }
        for (std::size_t i = 0; i < lomb_taps; ++i) {
            taps[i] = float(window.at(double(rest) / double(n_fft) + double(lomb_taps / 2) - 1.0 - double(i)));
        }
    }
    grid = {.exact = exact_.get(),
            .fine = fine_.get(),
            .order = order_.data(),
            .place = place_.data(),
            .lift = lift_.data(),
            .first = first_.data(),
            .taps = taps_.data()};
}

} // namespace

std::shared_ptr<const LombGrid> plan_lomb(std::size_t n_time, std::size_t n_fft) {
    static RecentPlans<Planner, 8> plans;
    return plans.of(n_time, n_fft);
}

} // namespace starskope::detail
