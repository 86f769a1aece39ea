// Contrastive divergence in float32, and the sums of softplus that a free energy is made of.
#include "divergence_phases.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {

extern const DivergenceKernels divergence = divergence_kernels<Single>();

void softplus_sums(const DivergenceJob& job, double* out) {
    for (size_t row = 0; row < job.n_data; ++row) {
        Doubles first = {}, second = {};
        for (size_t unit = 0; unit < job.n_hidden; unit += lanes) {
            const Floats x =
                load<Floats>(job.hidden_sums + row * job.h_stride + unit) + load<Floats>(job.hidden_bias + unit);
            const Floats size = (Floats)((Ints)x & 0x7FFFFFFF);
            const Floats above = x > Floats{} ? x : Floats{};
            const Floats rest = logarithm(splat(1.0f) + exponential(-clamped(size, 80.0f)));
            const Ints inside = first_lanes(job.n_hidden - unit);
            float parts[2][lanes];
            store(parts[0], kept(above, inside));
            store(parts[1], kept(rest, inside));
            first += load_doubles(parts[0]) + load_doubles(parts[1]);
            second += load_doubles(parts[0] + half) + load_doubles(parts[1] + half);
        }
        first += second;
        double total = 0.0;
        for (int i = 0; i < half; ++i) {
            total += first[i];
        }
        out[row] = total;
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
