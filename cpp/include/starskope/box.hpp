// Box least squares of many stars on one time axis.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "starskope/view.hpp"

namespace starskope {

enum class BoxObjective {
    snr,       // depth^2 / (2 depth_err^2): the log-likelihood gain over a constant
    likelihood // w_in depth^2 / 2, as astropy's objective="likelihood": the gain over a constant at the level outside
};

// The boxes to try. At each period the durations first <= k < last; bins are duration[first] / oversample wide there,
// begin with the first time at phase 0, and the last one ends with the period. A duration counts as the nearest whole
// number of bins, floor(duration / width + 0.5), and is not tried where that leaves no bin outside.
struct BoxTrials {
    View1<const double> period;      // (n_period,) > 0
    View1<const double> duration;    // (n_duration,) > 0, increasing
    int oversample = 3;              // > 0
    View1<const std::int32_t> first; // (n_period,)
    View1<const std::int32_t> last;  // (n_period,)
    BoxObjective objective = BoxObjective::snr;
};

// What to write, (n_period, n_star) each; a null view is not computed. NaN where nothing could be measured: no duration
// to try, or fewer than two points of the star. 0 where nothing dips; then there is no box.
struct BoxResult {
    View2<float> power{};           // objective of the best dip
    View2<float> inverted{};        // of the best brightening
    View2<float> depth{};           // of the best dip: mean outside less mean inside
    View2<std::int32_t> duration{}; // which one; -1 = no box
    View2<std::int32_t> start{};    // first bin of the box; -1 = no box
};

struct BoxStars;

// Stars made ready: fixed-point copies of their series, so that sums are exact and independent of their order.
class BoxSearch {
  public:
    // time   (n_time,)          strictly increasing, finite
    // flux   (n_time, n_star)   NaN and infinities are missing
    // error  one-sigma errors > 0; NaN and infinities: the point is missing. (n_time, n_star); (n_time, 1), one for all
    //        stars; (1, n_star), one for all times; or null, 1 everywhere
    // Nothing of them is kept. Throws std::invalid_argument on sizes, times or errors out of order, std::bad_alloc.
    BoxSearch(View1<const double> time, View2<const float> flux, View2<const float> error = {});
    ~BoxSearch();
    BoxSearch(BoxSearch&&) noexcept;
    BoxSearch& operator=(BoxSearch&&) noexcept;

    std::size_t n_star() const;
    // (n_star,) sum of error^-2 over the points of each star.
    View1<const double> weight() const;

    // May be called from several threads at a time. The result at a period depends on nothing else in the list.
    // Throws std::invalid_argument on sizes or trials out of range.
    void run(const BoxTrials& trials, const BoxResult& out) const;

  private:
    std::unique_ptr<const BoxStars> stars_;
};

struct ScannedStar;

// The same search for grids of hundreds of thousands of periods over years, star by star, at a cost that hardly depends
// on the number of points. Points are folded in stretches of time at frequencies that are good enough for each, and
// stretches put together with their phases rounded: a point may count in the bin beside its own. So bins shall be finer
// than for BoxSearch, and who wants the best box itself folds again at the peaks. Bins are at most duration[first] /
// oversample wide; there are up to an eighth more than that needs, a multiple of 16 that goes into the period. A
// duration counts as the nearest whole number of them.
class BoxScan {
  public:
    // As for BoxSearch.
    BoxScan(View1<const double> time, View2<const float> flux, View2<const float> error = {});
    ~BoxScan();
    BoxScan(BoxScan&&) noexcept;
    BoxScan& operator=(BoxScan&&) noexcept;

    std::size_t n_star() const;

    // Writes the objective of the best dip and, where wanted, of the best brightening, (n_period, n_star); NaN and 0 as
    // in BoxResult. May be called from several threads at a time. The result at a period depends on nothing else in the
    // list; neighbours in a long list share work. Scratch memory is 64 MiB at most. Throws std::invalid_argument.
    void run(const BoxTrials& trials, View2<float> power, View2<float> inverted = {}) const;

  private:
    std::vector<ScannedStar> stars_;
};

inline constexpr std::size_t max_box_bins = std::size_t{1} << 22; // in a period

} // namespace starskope
