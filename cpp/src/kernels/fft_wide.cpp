// Transforms in float64: weights, which lose digits where they are subtracted from nearly themselves.
#include "fft_groups.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

void transform_columns(const FftPlan& plan, double* block) {
    columns_from<Doubles>(plan, block, InPlace<Doubles>{});
}

void transform_group(const FftPlan& plan, double* block, size_t group, double* buffer) {
    group_of<Doubles>(plan, block, group, buffer);
}

void forward_stages(const FftTile& tile, int stage, double* block, const FftLines& lines, const double* last) {
    for (; stage < tile.n_stage; ++stage) {
        forward_stage<Doubles>(tile.stage[stage], block, lines, last, InPlace<Doubles>{});
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
