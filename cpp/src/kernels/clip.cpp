// Which way statistics of series are taken: summed in place where nothing needs an order, sorted where time is short,
// searched for the few ranks that are asked for where it is long.
#include "variant.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// Below this sorting is faster.
constexpr size_t least_selected = 256;

bool needs_order(const ClipJob& job) {
    return job.max_iters != 0 || job.median != nullptr;
}

bool selects(const ClipJob& job) {
    return job.series.n_time >= least_selected && !job.scale_mad;
}

} // namespace

size_t clip_scratch(const ClipJob& job) {
    if (!needs_order(job)) {
        return moments_scratch();
    }
    return selects(job) ? clip_selected_scratch(job.series.n_time) : clip_sorted_scratch(job.series.n_time);
}

void clip(const ClipJob& job) {
    if (!needs_order(job)) {
        survivors(job);
    } else if (selects(job)) {
        clip_selected(job);
    } else {
        clip_sorted(job);
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
