// Transforms in float32: the samples of series.
#include "fft_groups.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

void transform_columns(const FftPlan& plan, float* block) {
    columns_from<Floats>(plan, block, InPlace<Floats>{});
}

void transform_columns(const FftPlan& plan, float* block, const float* source, const float* phase) {
    columns_from<Floats>(plan, block, Turned<Floats>{source, phase});
}

void transform_group(const FftPlan& plan, float* block, size_t group, float* buffer) {
    group_of<Floats>(plan, block, group, buffer);
}

void forward_stages(const FftTile& tile, int stage, float* block, const FftLines& lines, const float* last) {
    for (; stage < tile.n_stage; ++stage) {
        forward_stage<Floats>(tile.stage[stage], block, lines, last, InPlace<Floats>{});
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
