#include "variant.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

const Kernels kernels = {
    .name = STARSKOPE_STRING(STARSKOPE_VARIANT),
    .decode_plane = decode_plane,
    .clip_scratch = clip_scratch,
    .clip = clip,
    .aperture_scratch = aperture_scratch,
    .aperture_sums = aperture_sums,
};

} // namespace starskope::detail::STARSKOPE_VARIANT
