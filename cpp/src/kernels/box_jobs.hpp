// What entry points ask of the kernels of the box search. Plain structs, as kernels.hpp says.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace starskope::detail {

// Stars of one tile: neighbours in memory and in the lanes.
enum : size_t { box_tile_series = 32 };

// Whose the weights of the points are.
enum BoxWeights {
    box_weights_common,  // all stars of the tile have every point, with the same weights
    box_weights_counted, // each star has points of its own, of weight 1
    box_weights_own,     // each star has weights of its own
};

// What turns the integers of one star back into fluxes; see box_prepare.cpp.
struct BoxStar {
    double unit;   // flux times used weight, of one step of the series
    double gain;   // log-likelihood gain of a squared series over used weights; NaN: too few points
    double weight; // sum of inverse variances
    int32_t total; // sum of used weights, where they are not common
};

struct BoxPrepareJob {
    const float* flux;    // (n_time, box_tile_series); lanes without a star hold zeros
    const float* error;   // the same
    const double* shared; // (n_time,) common weights, null: 1 everywhere
    size_t n_time;
    BoxWeights weights;
    int32_t* series;  // written: (n_time, box_tile_series), with own weights twice as wide, weights to the right
    uint8_t* counted; // written where weights are counted: (n_time, box_tile_series), 1 = there
    BoxStar* star;    // written: (box_tile_series,)
};

// Bins, order and common weights of one period.
struct BoxPlan {
    uint32_t* row;   // (n_time,) rows of the series in order of their bins
    uint32_t* begin; // (n_bin + 2,) where in `row` each bin begins, and the end of the last; the rest is scratch
    double* weight;  // (n_bin + longest + 1,) sum over the bins before, the first bins once more behind the last
    float* root;     // (n_duration, n_bin) of the gain per squared series of the box from that bin
};

struct BoxPlanJob {
    const double* time; // (n_time,) since phase 0
    size_t n_time;
    const double* shared; // as above
    double period;
    double bin_width;
    size_t n_bin;
    const int32_t* duration; // (n_duration,) bins, not decreasing, below n_bin
    size_t n_duration;
    bool likelihood;
    bool weights;      // whether any tile needs the plan's `weight` and `root`
    BoxPlan plan;      // written
    uint32_t* scratch; // (n_time,)
};

struct BoxTileJob {
    const int32_t* series;
    const uint8_t* counted;
    const BoxStar* star;
    BoxWeights weights;
    bool likelihood;
    size_t n_bin;
    const int32_t* duration;
    size_t n_duration;
    BoxPlan plan;
    int32_t* folded; // scratch, 64-byte aligned: n_bin + longest + 1 rows as wide as the tile, twice that with weights
    // Written, (box_tile_series,) each; depth, index and start may be null together, inverted alone.
    float* power;
    float* inverted;
    float* depth;
    int32_t* index;
    int32_t* start;
};

// One star folded in stretches of time; see box_scan.cpp. Sums over phase bins are flux (2 n_bin: all bins, then all
// bins once more), then weights alike; n_bin is a multiple of box_scan_bins.
enum : size_t { box_scan_bins = 16 };

// The points of a stretch that is not divided any further.
struct BoxFoldJob {
    const double* time; // (n_point,)
    const int32_t* flux;
    const int32_t* weight;
    size_t n_point;
    double centre; // time of phase 0
    double frequency;
    size_t n_bin;
    uint32_t* scratch; // (n_point,)
    int32_t* sums;     // written
};

// A stretch from its parts.
struct BoxJoinJob {
    const int32_t* const* part;   // (n_part,) sums of flux, from the bin that is the first one of the whole
    const int32_t* const* weight; // the same of weights
    size_t n_part;                // 1 or more
    size_t n_bin;
    int32_t* sums; // written
};

// The best box of a period from the parts of all times.
struct BoxScanJob {
    const int32_t* const* part;
    const int32_t* const* weight;
    size_t n_part;
    size_t n_bin;
    const int32_t* duration; // (n_duration,) bins, not decreasing, below n_bin
    size_t n_duration;
    bool likelihood;
    double gain; // as in BoxStar
    int32_t* running;
    size_t running_size; // at least n_bin + longest + 2 * box_scan_bins; `running` holds twice as many
    float* power;        // written
    float* inverted;     // may be null
};

} // namespace starskope::detail
