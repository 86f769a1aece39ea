// What every kernel source sees. Each source is compiled once per instruction set, with STARSKOPE_VARIANT naming the
// namespace (v2, v3, v4, baseline). Everything but the functions below is static or in an anonymous namespace: an
// inline function or template with external linkage would be a weak symbol, of which the linker keeps the copy of just
// one variant for all of them. cpp/tests/check_symbols.cmake reads the objects and holds this.
#pragma once

#include "kernels.hpp"

#ifndef STARSKOPE_VARIANT
#error "kernels are compiled per variant: define STARSKOPE_VARIANT"
#endif

#define STARSKOPE_STRING_(x) #x
#define STARSKOPE_STRING(x) STARSKOPE_STRING_(x)

namespace starskope::detail::STARSKOPE_VARIANT {

void decode_plane(const unsigned char* bytes, float* out, size_t n_row, size_t n_col, size_t out_stride);
size_t clip_scratch(const ClipJob& job);
void clip(const ClipJob& job);
size_t clip_sorted_scratch(size_t n_time);
void clip_sorted(const ClipJob& job);
size_t clip_selected_scratch(size_t n_time);
void clip_selected(const ClipJob& job);
size_t moments_scratch();
void survivors(const ClipJob& job); // mean, std and count of what lies within bounds
void accumulate(const AccumulateJob& job);
size_t aperture_scratch(double max_radius);
void aperture_sums(const ApertureJob& job);
size_t sky_scratch(size_t n_pixel); // of the largest box or ring
void box_medians(const BoxMediansJob& job);
void ring_medians(const RingMediansJob& job);
void subtract_surface(const SurfaceJob& job);
void surface_lines(const SurfaceLinesJob& job);
void surface_values(const SurfaceValuesJob& job);
size_t spectrum_scratch(const FftGrid& grid);
void spectra(const SpectrumJob& job);
size_t autocorrelation_scratch(const FftGrid& grid);
void autocorrelation(const AutocorrelationJob& job);
size_t transform_scratch(const FftGrid& grid);
void transform(const TransformJob<float>& job);
size_t transform_wide_scratch(const FftGrid& grid);
void transform_wide(const TransformJob<double>& job);
size_t window_scratch(const FftGrid& grid);
void window_transform(const FftGrid& grid, const float* window, double* out, double* scratch);
size_t lomb_scargle_scratch(const LombGrid& grid, size_t n_time, size_t n_freq, bool own_weights);
void lomb_scargle(const LombScargleJob& job);
void box_prepare(const BoxPrepareJob& job);
void box_plan(const BoxPlanJob& job);
void box_tile(const BoxTileJob& job);
void box_fold(const BoxFoldJob& job);
void box_join(const BoxJoinJob& job);
void box_scan(const BoxScanJob& job);
void md5_blocks(const Md5Job& job);
extern const DipKernels dips;
void softplus_sums(const DivergenceJob& job, double* out); // (n_data): of hidden_sums and hidden_bias
extern const DivergenceKernels divergence;
extern const DivergenceKernels divergence_mixed;

extern const Kernels kernels;

} // namespace starskope::detail::STARSKOPE_VARIANT
