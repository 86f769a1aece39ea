// The seam between entry points and kernels: plain structs and function pointers only, so that nothing compiled for one
// instruction set can be picked by the linker for another. Included by the kernels: no standard library templates.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/autocorrelation_job.hpp"
#include "kernels/box_jobs.hpp"
#include "kernels/dip_jobs.hpp"
#include "kernels/divergence_job.hpp"
#include "kernels/lomb_job.hpp"
#include "kernels/md5_job.hpp"
#include "kernels/sky_jobs.hpp"
#include "kernels/spectra_jobs.hpp"
#include "kernels/stack_jobs.hpp"
#include "kernels/transform_jobs.hpp"

namespace starskope::detail {

// All sizes were checked by the entry point. Optional outputs are null.
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
    SurfaceRows surface; // subtracted from the image on the way
    double* scratch;     // 64-byte aligned, aperture_scratch(largest radius) doubles
};

struct Kernels {
    const char* name;
    void (*decode_plane)(const unsigned char* bytes, float* out, size_t n_row, size_t n_col, size_t out_stride);
    size_t (*clip_scratch)(const ClipJob&);
    void (*clip)(const ClipJob&);
    size_t (*moments_scratch)();
    void (*survivors)(const ClipJob&);
    void (*accumulate)(const AccumulateJob&);
    size_t (*aperture_scratch)(double max_radius);
    void (*aperture_sums)(const ApertureJob&);
    size_t (*sky_scratch)(size_t n_pixel);
    void (*box_medians)(const BoxMediansJob&);
    void (*ring_medians)(const RingMediansJob&);
    void (*subtract_surface)(const SurfaceJob&);
    void (*surface_lines)(const SurfaceLinesJob&);
    void (*surface_values)(const SurfaceValuesJob&);
    size_t (*spectrum_scratch)(const FftGrid& grid);
    void (*spectra)(const SpectrumJob&);
    size_t (*autocorrelation_scratch)(const FftGrid& grid);
    void (*autocorrelation)(const AutocorrelationJob&);
    size_t (*transform_scratch)(const FftGrid& grid); // float32 values
    void (*transform)(const TransformJob<float>&);
    size_t (*transform_wide_scratch)(const FftGrid& grid); // float64 values
    void (*transform_wide)(const TransformJob<double>&);
    size_t (*window_scratch)(const FftGrid& grid); // float64 values
    // (n,) to (n_fft / 2 + 1,) complex, of a grid without residues
    void (*window_transform)(const FftGrid& grid, const float* window, double* out, double* scratch);
    size_t (*lomb_scargle_scratch)(const LombGrid& grid, size_t n_time, size_t n_freq, bool own_weights);
    void (*lomb_scargle)(const LombScargleJob&);
    void (*box_prepare)(const BoxPrepareJob&);
    void (*box_plan)(const BoxPlanJob&);
    void (*box_tile)(const BoxTileJob&);
    void (*box_fold)(const BoxFoldJob&);
    void (*box_join)(const BoxJoinJob&);
    void (*box_scan)(const BoxScanJob&);
    void (*md5_blocks)(const Md5Job&);
    const DipKernels* dips;
    const DivergenceKernels* divergence;
    const DivergenceKernels* divergence_mixed;
    void (*softplus_sums)(const DivergenceJob&, double* out);
};

} // namespace starskope::detail
