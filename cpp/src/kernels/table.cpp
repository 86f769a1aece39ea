#include "variant.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

const Kernels kernels = {
    .name = STARSKOPE_STRING(STARSKOPE_VARIANT),
    .decode_plane = decode_plane,
    .clip_scratch = clip_scratch,
    .clip = clip,
    .moments_scratch = moments_scratch,
    .survivors = survivors,
    .accumulate = accumulate,
    .aperture_scratch = aperture_scratch,
    .aperture_sums = aperture_sums,
    .sky_scratch = sky_scratch,
    .box_medians = box_medians,
    .ring_medians = ring_medians,
    .subtract_surface = subtract_surface,
    .spectrum_scratch = spectrum_scratch,
    .spectra = spectra,
    .autocorrelation_scratch = autocorrelation_scratch,
    .autocorrelation = autocorrelation,
    .transform_scratch = transform_scratch,
    .transform = transform,
    .transform_wide_scratch = transform_wide_scratch,
    .transform_wide = transform_wide,
    .window_scratch = window_scratch,
    .window_transform = window_transform,
    .lomb_scargle_scratch = lomb_scargle_scratch,
    .lomb_scargle = lomb_scargle,
    .box_prepare = box_prepare,
    .box_plan = box_plan,
    .box_tile = box_tile,
    .box_fold = box_fold,
    .box_join = box_join,
    .box_scan = box_scan,
    .md5_blocks = md5_blocks,
    .divergence = &divergence,
    .divergence_mixed = &divergence_mixed,
    .softplus_sums = softplus_sums,
};

} // namespace starskope::detail::STARSKOPE_VARIANT
