// The seam between entry points and kernels: plain structs and function pointers only, so that nothing compiled for one
// instruction set can be picked by the linker for another. Included by the kernels: no standard library templates.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace starskope::detail {

// All sizes were checked by the entry point. Optional outputs are null.
struct ClipJob {
    const float* data; // (n_time, n_series), rows row_stride apart
    size_t n_time;
    size_t n_series;
    size_t row_stride;
    double sigma_low;
    double sigma_high;
    int max_iters; // negative: until stable
    bool center_median;
    float* mean;
    float* median;
    float* std;
    int32_t* count;
    float* scratch; // 64-byte aligned, clip_scratch(n_time) floats
};

struct ApertureJob {
    const float* image; // (n_row, n_col), rows row_stride apart
    size_t n_row;
    size_t n_col;
    size_t row_stride;
    const double* row;
    const double* column;
    const double* radius;
    size_t n_star;
    double* total;
    double* area;
    int32_t* n_bad;
    double* scratch; // 64-byte aligned, aperture_scratch(largest radius) doubles
};

// Stars of one tile of the box search: neighbours in memory and in the lanes.
enum : size_t { box_tile_series = 32 };

// What turns the integers of one star back into fluxes; see kernels/box_prepare.cpp.
struct BoxStar {
    double unit;   // flux times used weight, of one step of the series
    double gain;   // log-likelihood gain of a squared series over used weights; NaN: too few points
    double weight; // sum of inverse variances
    int32_t total; // sum of used weights where the tile is weighted
};

struct BoxPrepareJob {
    const float* flux;    // (n_time, box_tile_series); lanes without a star hold zeros
    const float* error;   // the same; null: 1 everywhere
    const double* shared; // (n_time,) weights of all stars alike, null: 1 everywhere; unused where weighted
    size_t n_time;
    bool weighted;   // each star has weights of its own
    int32_t* series; // written: (n_time, box_tile_series), twice as wide where weighted, the weights to the right
    BoxStar* star;   // written: (box_tile_series,)
};

// Bins, order and common weights of one period. Sizes: n_time; n_bin + 1; n_bin + longest + 1; n_duration * n_bin.
struct BoxPlan {
    uint32_t* row;   // rows of the series in order of their bins
    uint32_t* begin; // where in `row` each bin begins, and the end of the last
    double* weight;  // common weights summed over the bins before, the first bins once more behind the last
    float* root;     // of the gain per squared series, [duration][bin]
};

struct BoxPlanJob {
    const double* time; // since phase 0
    size_t n_time;
    const double* shared; // as above
    double period;
    double bin_width;
    size_t n_bin;
    const int32_t* duration; // bins, not decreasing, below n_bin
    size_t n_duration;
    bool likelihood;
    bool weights; // whether any tile needs `weight` and `root`
    BoxPlan plan; // written
    uint32_t* scratch; // n_time
};

struct BoxTileJob {
    const int32_t* series;
    const BoxStar* star;
    bool weighted;
    bool likelihood;
    size_t n_bin;
    const int32_t* duration;
    size_t n_duration;
    BoxPlan plan;
    int32_t* folded; // scratch, 64-byte aligned: n_bin + longest + 1 rows as wide as the series
    // Written, (box_tile_series,) each; depth, index and start may be null together, inverted alone.
    float* power;
    float* inverted;
    float* depth;
    int32_t* index;
    int32_t* start;
};

struct Kernels {
    const char* name;
    void (*decode_plane)(const unsigned char* bytes, float* out, size_t n_row, size_t n_col, size_t out_stride);
    size_t (*clip_scratch)(size_t n_time);
    void (*clip)(const ClipJob&);
    size_t (*aperture_scratch)(double max_radius);
    void (*aperture_sums)(const ApertureJob&);
    void (*box_prepare)(const BoxPrepareJob&);
    void (*box_plan)(const BoxPlanJob&);
    void (*box_tile)(const BoxTileJob&);
};

} // namespace starskope::detail
