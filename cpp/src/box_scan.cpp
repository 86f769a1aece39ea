#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "box_stars.hpp"
#include "box_stretches.hpp"
#include "box_trials.hpp"

namespace starskope {

// The points that a star has, and their stretches.
struct ScannedStar {
    std::vector<double> time;
    std::vector<std::int32_t> flux, weight;
    double gain = 0.0;
};

namespace {

// Bins over which one period is folded, a multiple of the lanes of every instruction set, and its durations in them.
struct Folding {
    std::size_t n_bin = 0;
    std::vector<std::int32_t> duration; // empty: nothing to try

    void set(const BoxTrials& trials, std::size_t p) {
        const double period = trials.period.data[p];
        const std::size_t first = static_cast<std::size_t>(trials.first.data[p]);
        const std::size_t last = static_cast<std::size_t>(std::max(trials.last.data[p], 0));
        duration.clear();
        if (first >= last) {
            return;
        }
        n_bin = scanned_bins(
            static_cast<std::size_t>(std::ceil(period / (trials.duration.data[first] / trials.oversample))));
        for (std::size_t k = first; k < last; ++k) {
            const double bins = std::floor(trials.duration.data[k] / period * static_cast<double>(n_bin) + 0.5);
            if (bins >= static_cast<double>(n_bin)) {
                break;
            }
            duration.push_back(static_cast<std::int32_t>(std::max(bins, 1.0)));
        }
    }
};

// Elements of the sums of all stretches; with more, points are folded without them.
constexpr std::size_t most_sums = std::size_t{1} << 24;

// Sums of every stretch of one star at the frequency that it was last folded at.
class Folded {
  public:
    explicit Folded(const ScannedStar& star) : star_(star), scratch_(star.time.size()) {}

    void scan(const BoxTrials& trials, const Folding& folding, double frequency, float* power, float* inverted) {
        if (folding.n_bin != n_bin_) {
            n_bin_ = folding.n_bin;
            stretches_ = stretches(star_.time, n_bin_);
            part_.resize(stretches_.size());
            weight_.resize(stretches_.size());
            whole_ = stretches_[0].n_part == 0 || stretches_.size() * size() > most_sums;
            const std::size_t wanted = (whole_ ? 1 : stretches_.size()) * size();
            if (wanted > sums_size_) {
                sums_ = detail::make_scratch<std::int32_t>(wanted);
                sums_size_ = wanted;
            }
            at_.assign(stretches_.size(), std::numeric_limits<double>::quiet_NaN());
        }
        const std::size_t running =
            n_bin_ + static_cast<std::size_t>(folding.duration.back()) + 2 * detail::box_scan_bins;
        if (running > running_size_) {
            running_size_ = (running + detail::box_scan_bins - 1) / detail::box_scan_bins * detail::box_scan_bins;
            running_ = detail::make_scratch<std::int32_t>(2 * running_size_);
        }
        std::size_t n_part = stretches_[0].n_part;
        if (whole_) {
            fold(0, frequency);
            part_[0] = sums_.get();
            weight_[0] = sums_.get() + 2 * n_bin_;
            n_part = 1;
        } else {
            gather(0, frequency);
        }
        detail::active().box_scan({
            .part = part_.data(),
            .weight = weight_.data(),
            .n_part = n_part,
            .n_bin = n_bin_,
            .duration = folding.duration.data(),
            .n_duration = folding.duration.size(),
            .likelihood = trials.objective == BoxObjective::likelihood,
            .gain = star_.gain,
            .running = running_.get(),
            .running_size = running_size_,
            .power = power,
            .inverted = inverted,
        });
    }

  private:
    std::size_t size() const { return 4 * n_bin_; }

    // Brings the parts of a stretch near this frequency and leaves in `part_` where they begin.
    void gather(std::size_t i, double frequency) {
        const Stretch& whole = stretches_[i];
        for (std::size_t k = whole.first_part; k < whole.first_part + whole.n_part; ++k) {
            bring(k, frequency);
        }
        for (std::size_t k = 0; k < whole.n_part; ++k) {
            const std::size_t part = whole.first_part + k;
            const std::size_t turned = turned_bins(stretches_[part], whole, frequency, n_bin_);
            part_[k] = sums_.get() + part * size() + (turned == 0 ? 0 : n_bin_ - turned);
            weight_[k] = part_[k] + 2 * n_bin_;
        }
    }

    void bring(std::size_t i, double frequency) {
        const Stretch& stretch = stretches_[i];
        const double step = stretch.frequency_step(n_bin_);
        const double near = step > 0.0 ? std::floor(frequency / step + 0.5) * step : 0.0;
        if (near == at_[i]) {
            return;
        }
        at_[i] = near;
        if (stretch.n_part == 0) {
            fold(i, near);
            return;
        }
        gather(i, near);
        detail::active().box_join({.part = part_.data(),
                                   .weight = weight_.data(),
                                   .n_part = stretch.n_part,
                                   .n_bin = n_bin_,
                                   .sums = sums_.get() + i * size()});
    }

    void fold(std::size_t i, double frequency) {
        const Stretch& stretch = stretches_[i];
        detail::active().box_fold({
            .time = star_.time.data() + stretch.first_point,
            .flux = star_.flux.data() + stretch.first_point,
            .weight = star_.weight.data() + stretch.first_point,
            .n_point = stretch.n_point,
            .centre = stretch.centre,
            .frequency = frequency,
            .n_bin = n_bin_,
            .scratch = scratch_.data(),
            .sums = sums_.get() + i * size(),
        });
    }

    const ScannedStar& star_;
    std::size_t n_bin_ = 0, sums_size_ = 0, running_size_ = 0;
    bool whole_ = false; // no stretches: all points at once
    std::vector<Stretch> stretches_;
    std::vector<std::uint32_t> scratch_;
    std::vector<const std::int32_t*> part_, weight_;
    std::vector<double> at_; // frequency of each stretch's sums
    std::unique_ptr<std::int32_t[], detail::AlignedDelete> sums_, running_;
};

} // namespace

BoxScan::BoxScan(View1<const double> time, View2<const float> flux, View2<const float> error) {
    require_stars(time, flux, error);
    const BoxStars stars(time, flux, error, BoxWeighing::own);
    stars_.resize(flux.n_col);
    for (const BoxTile& tile : stars.tiles) {
        for (std::size_t s = 0; s < tile.n_star; ++s) {
            ScannedStar& star = stars_[tile.column[s]];
            star.gain = tile.star[s].gain;
            for (std::size_t i = 0; i < stars.time.size(); ++i) {
                const std::int32_t* const point = tile.series.get() + i * 2 * detail::box_tile_series + s;
                if (point[detail::box_tile_series] > 0) {
                    star.time.push_back(stars.time[i]);
                    star.flux.push_back(point[0]);
                    star.weight.push_back(point[detail::box_tile_series]);
                }
            }
        }
    }
}

BoxScan::~BoxScan() = default;
BoxScan::BoxScan(BoxScan&&) noexcept = default;
BoxScan& BoxScan::operator=(BoxScan&&) noexcept = default;

std::size_t BoxScan::n_star() const {
    return stars_.size();
}

void BoxScan::run(const BoxTrials& trials, View2<float> power, View2<float> inverted) const {
    require_trials(trials);
    const std::size_t n_period = trials.period.size;
    require_result(power, n_period, n_star(), "power");
    require_result(inverted, n_period, n_star(), "inverted");
    if (power.data == nullptr) {
        return;
    }
    // Neighbouring frequencies share what is folded.
    std::vector<std::size_t> order(n_period);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return trials.period.data[a] != trials.period.data[b] ? trials.period.data[a] < trials.period.data[b] : a < b;
    });
    Folding folding;
    for (std::size_t column = 0; column < n_star(); ++column) {
        const ScannedStar& star = stars_[column];
        Folded folded(star);
        for (const std::size_t p : order) {
            folding.set(trials, p);
            float best = std::numeric_limits<float>::quiet_NaN(), worst = best;
            if (!folding.duration.empty() && !star.time.empty()) {
                folded.scan(trials, folding, 1.0 / trials.period.data[p], &best,
                            inverted.data == nullptr ? nullptr : &worst);
            }
            power.data[p * power.stride + column] = best;
            if (inverted.data != nullptr) {
                inverted.data[p * inverted.stride + column] = worst;
            }
        }
    }
}

} // namespace starskope
