// Contrastive divergence with bfloat16 products. Compiled for every variant, which makes them of float32 ones, and once
// more, as a variant of its own, for processors that have the instruction.
#include "divergence_phases.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

extern const DivergenceKernels divergence_mixed = divergence_kernels<Pairs>();

} // namespace starskope::detail::STARSKOPE_VARIANT
