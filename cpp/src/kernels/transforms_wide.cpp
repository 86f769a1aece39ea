// Transforms in float64.
#include "transforms.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

size_t transform_wide_scratch(const FftGrid& grid) {
    return scratch_of<Doubles>(grid);
}

void transform_wide(const TransformJob<double>& job) {
    transform_all<Doubles>(job);
}

} // namespace starskope::detail::STARSKOPE_VARIANT
