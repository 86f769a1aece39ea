#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "dip_boxes.hpp"
#include "dip_vetting.hpp"
#include "ranks.hpp"

namespace starskope {
namespace {

using detail::nan;

// Peaks of a spectrum that are looked at; the one whose events stand out most is the candidate.
constexpr std::size_t n_peak = 3;
constexpr std::size_t samples_per_band = 301;
constexpr std::size_t samples = 8192; // of a spectrum, from which its scatter is taken, and up to twice as many
// Efficiency above which the peaks are looked for first; any value gives the same.
constexpr double probable = 3.0;

void check_bands(std::size_t n_period, View1<const std::int64_t> edge, View1<const double> centre) {
    if (edge.size != centre.size + 1 || centre.size == 0 || edge.data == nullptr || centre.data == nullptr) {
        throw std::invalid_argument("edge: has " + std::to_string(edge.size) + " elements for " +
                                    std::to_string(centre.size) + " bands, expected one more, and a band at least");
    }
    for (std::size_t b = 0; b < edge.size; ++b) {
        const std::int64_t before = b > 0 ? edge.data[b - 1] : -1;
        if (edge.data[b] <= before || (b == 0 && edge.data[b] != 0) || std::uint64_t(edge.data[b]) > n_period) {
            throw std::invalid_argument("edge[" + std::to_string(b) + "]=" + std::to_string(edge.data[b]) +
                                        ": expected edges that increase from 0 to " + std::to_string(n_period));
        }
    }
    if (std::uint64_t(edge.data[centre.size]) != n_period) {
        throw std::invalid_argument("edge: ends with " + std::to_string(edge.data[centre.size]) + ", expected " +
                                    std::to_string(n_period));
    }
    for (std::size_t b = 0; b < centre.size; ++b) {
        const double here = centre.data[b];
        if (!(here >= double(edge.data[b]) && here < double(edge.data[b + 1]))) {
            throw std::invalid_argument("centre[" + std::to_string(b) + "]=" + std::to_string(here) +
                                        ": expected a position in its band");
        }
    }
}

void check_trials(const PeriodTrials& trials, std::size_t n_period) {
    require_size(trials.period, n_period, "period");
    require_size(trials.shortest, n_period, "shortest");
    require_size(trials.longest, n_period, "longest");
    for (std::size_t i = 0; i < n_period; ++i) {
        const double period = trials.period.data[i], shortest = trials.shortest.data[i];
        if (!(period > 0.0 && shortest > 0.0 && trials.longest.data[i] > 0.0) || std::isinf(period) ||
            std::isinf(shortest)) {
            throw std::invalid_argument("period[" + std::to_string(i) + "]=" + std::to_string(period) +
                                        ": expected days above 0, as of its durations");
        }
    }
}

// Median of some 300 to 600 values of each band; each is sought near that of the band before.
std::vector<double> band_medians(View1<const float> statistic, View1<const std::int64_t> edge) {
    std::vector<double> medians(edge.size - 1), sample(statistic.size), scratch(statistic.size + 1);
    detail::Spread before{nan, nan};
    for (std::size_t b = 0; b < medians.size(); ++b) {
        const auto start = std::size_t(edge.data[b]), stop = std::size_t(edge.data[b + 1]);
        const std::size_t stride = std::max(std::size_t{1}, (stop - start) / samples_per_band);
        std::size_t n = 0;
        for (std::size_t i = start; i < stop; i += stride) {
            sample[n++] = double(statistic.data[i]);
        }
        if (b == 0) {
            before = detail::spread(sample.data(), n, before, scratch.data());
        } else {
            before.centre = detail::median_between(sample.data(), n, before.centre - 0.3 * before.sigma,
                                                   before.centre + 0.3 * before.sigma, scratch.data());
        }
        medians[b] = before.centre;
    }
    return medians;
}

void detrend(View1<const float> statistic, View1<const std::int64_t> edge, View1<const double> centre, double* out) {
    const std::size_t n_band = centre.size, n = statistic.size;
    const std::vector<double> medians = band_medians(statistic, edge);
    const auto behind = [&](std::size_t b) { return std::min(std::size_t(centre.data[b]) + 1, n); };
    // Straight lines between the centres, level before the first and after the last.
    for (std::size_t b = 0; b <= n_band; ++b) {
        const std::size_t start = b == 0 ? 0 : behind(b - 1), stop = b == n_band ? n : behind(b);
        const std::size_t low = b == 0 ? 0 : b - 1, high = std::min(b, n_band - 1);
        const double width = high > low ? centre.data[high] - centre.data[low] : 1.0;
        const double rise = medians[high] - medians[low];
        for (std::size_t i = start; i < stop; ++i) {
            out[i] = double(statistic.data[i]) - (medians[low] + (double(i) - centre.data[low]) / width * rise);
        }
    }
    const std::size_t stride = std::max(std::size_t{1}, n / samples);
    std::vector<double> deviation, sample;
    for (std::size_t i = 0; i < n; i += stride) {
        deviation.push_back(std::fabs(out[i]));
    }
    const std::size_t m = deviation.size();
    for (std::size_t i = 0; i < m; i += std::max(std::size_t{1}, m / samples_per_band)) {
        sample.push_back(deviation[i]);
    }
    const double usual = detail::median(sample.data(), sample.size());
    std::vector<double> scratch(m + 1);
    const double scatter =
        detail::mad_to_sigma * detail::median_between(deviation.data(), m, 0.8 * usual, 1.2 * usual, scratch.data());
    for (std::size_t i = 0; i < n; ++i) {
        out[i] = scatter > 0.0 ? out[i] / scatter : 0.0;
    }
}

struct Peaks {
    std::array<std::size_t, n_peak> at{};
    std::size_t n = 0;
};

// The highest peaks above a height that are not flanks of each other: frequencies closer than 1 / span are one peak.
Peaks peaks_above(const std::vector<double>& efficiency, View1<const double> period, double span, double least) {
    std::vector<std::size_t> places(efficiency.size() + 1);
    std::size_t n_place = 0;
    for (std::size_t i = 0; i < efficiency.size(); ++i) {
        places[n_place] = i;
        n_place += std::size_t(efficiency[i] > least);
    }
    places.resize(n_place);
    Peaks peaks;
    while (peaks.n < n_peak && !places.empty()) {
        std::size_t best = places[0];
        for (const std::size_t i : places) {
            best = efficiency[i] > efficiency[best] ? i : best;
        }
        peaks.at[peaks.n++] = best;
        const double frequency = 1.0 / period.data[best];
        std::erase_if(places, [&](std::size_t i) {
            return i == best || std::fabs(1.0 / period.data[i] - frequency) < 1.0 / span;
        });
    }
    return peaks;
}

} // namespace

void detrend_spectrum(View1<const float> statistic, View1<const std::int64_t> edge, View1<const double> centre,
                      View1<double> out) {
    require_size(statistic, statistic.size, "statistic");
    require_size(out, statistic.size, "out");
    check_bands(statistic.size, edge, centre);
    detrend(statistic, edge, centre, out.data);
}

bool best_peak(const StarPoints& star, bool upside_down, View1<const float> statistic, const PeriodTrials& trials,
               double& sde, VettedDip& found) {
    std::vector<double> turned;
    const detail::Points points = detail::ready(star, upside_down, turned);
    const std::size_t n_period = statistic.size;
    require_size(statistic, n_period, "statistic");
    check_trials(trials, n_period);
    check_bands(n_period, trials.edge, trials.centre);
    std::vector<double> efficiency(n_period);
    detrend(statistic, trials.edge, trials.centre, efficiency.data());
    const double span = points.end() - points.begin();
    Peaks peaks = peaks_above(efficiency, trials.period, span, probable);
    if (peaks.n < n_peak) {
        peaks = peaks_above(efficiency, trials.period, span, 0.0);
    }
    sde = nan;
    bool is_any = false;
    detail::Measured best;
    detail::Limits limits{nan, nan, nan, nan};
    const double* period = trials.period.data;
    for (std::size_t p = 0; p < peaks.n; ++p) {
        const std::size_t i = peaks.at[p];
        double step = 0.0;
        for (std::size_t k = i > 0 ? i - 1 : 0; k < std::min(i + 1, n_period - 1); ++k) {
            step = std::max(step, std::fabs(1.0 / period[k + 1] - 1.0 / period[k]));
        }
        const detail::Limits its{period[0], period[n_period - 1], trials.shortest.data[i], trials.longest.data[i]};
        Ephemeris start;
        if (!detail::locate(points, period[i], its.duration_min, its.duration_max, start)) {
            continue;
        }
        detail::Measured one = detail::measure(points, start, step, its);
        if (!is_any || detail::snr(one) > detail::snr(best)) {
            is_any = true;
            best = std::move(one);
            limits = its;
            sde = efficiency[i];
        }
    }
    if (!(detail::snr(best) > 0.0)) {
        return false;
    }
    found = detail::vet(points, std::move(best), limits);
    return true;
}

namespace {

void require_days(double value, const char* name) {
    if (!(value > 0.0) || std::isinf(value)) {
        throw std::invalid_argument(std::string(name) + "=" + std::to_string(value) + ": expected days above 0");
    }
}

} // namespace

bool locate_box(const StarPoints& star, double period, double shortest, double longest, Ephemeris& found) {
    require_days(period, "period");
    require_days(shortest, "shortest");
    require_days(longest, "longest");
    std::vector<double> turned;
    return detail::locate(detail::ready(star, false, turned), period, shortest, longest, found);
}

Ephemeris refine_box(const StarPoints& star, const Ephemeris& start, double frequency_step, double shortest,
                     double longest) {
    require_days(start.period, "period");
    require_days(start.duration, "duration");
    require_days(shortest, "shortest");
    require_days(longest, "longest");
    if (!std::isfinite(start.t0) || !(frequency_step >= 0.0)) {
        throw std::invalid_argument("t0=" + std::to_string(start.t0) + ", frequency_step=" +
                                    std::to_string(frequency_step) + ": expected a time, and a step of 0 or more");
    }
    std::vector<double> turned;
    return detail::refine(detail::ready(star, false, turned), start, frequency_step, shortest, longest);
}

} // namespace starskope
