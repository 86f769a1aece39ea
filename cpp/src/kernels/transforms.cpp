// Transforms in float32.
#include "transforms.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

size_t transform_scratch(const FftGrid& grid) {
    return scratch_of<Floats>(grid);
}

void transform(const TransformJob<float>& job) {
    transform_all<Floats>(job);
}

} // namespace starskope::detail::STARSKOPE_VARIANT
