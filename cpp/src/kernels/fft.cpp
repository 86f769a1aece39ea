// Transforms in float32: the samples of series.
#include "fft_groups.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

namespace {

size_t butterflies_of(const FftTile& tile) {
    size_t n = 0;
    for (int s = 0; s < tile.n_stage; ++s) {
        n += tile.length / tile.stage[s].radix;
    }
    return n;
}

size_t butterflies_of(const FftSplit& split) {
    return butterflies_of(split.columns) * split.n_column + butterflies_of(split.rows) * split.columns.length;
}

} // namespace

size_t count_butterflies(const FftPlan& plan) {
    size_t n = butterflies_of(plan.split);
    if (plan.groups != FftGroups::smooth) {
        n += 2 * plan.n_group * butterflies_of(plan.convolution.split);
    }
    return n;
}

void transform_columns(const FftPlan& plan, float* block, Ahead* ahead) {
    columns_from<Floats>(plan, block, InPlace<Floats>{}, ahead);
}

void transform_columns(const FftPlan& plan, float* block, const float* source, const float* phase, Ahead* ahead) {
    columns_from<Floats>(plan, block, Turned<Floats>{source, phase}, ahead);
}

void transform_group(const FftPlan& plan, float* block, size_t group, float* buffer, Ahead* ahead) {
    group_of<Floats>(plan, block, group, buffer, ahead);
}

void forward_stages(const FftTile& tile, int stage, float* block, const FftLines& lines, const float* last) {
    for (; stage < tile.n_stage; ++stage) {
        forward_stage<Floats>(tile.stage[stage], block, lines, last, InPlace<Floats>{});
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
