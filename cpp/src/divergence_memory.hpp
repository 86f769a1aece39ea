// Memory of contrastive divergence: arrays in the strides and with the padding that its kernels ask for.
#pragma once

#include <cstring>
#include <vector>

#include "dispatch.hpp"
#include "starskope/divergence.hpp"

namespace starskope::detail {

// Rows of `n` words on cache lines, an odd number of them: rows at a power of two apart would share few cache sets.
inline std::size_t padded(std::size_t n) {
    return ((n + 15) / 16 | 1) * 16;
}

inline std::size_t whole_lines(std::size_t n) {
    return (n + 15) / 16 * 16;
}

inline std::size_t whole_tiles(std::size_t n) {
    return (n + divergence_units - 1) / divergence_units * divergence_units;
}

inline std::size_t n_tiles(std::size_t n) {
    return (n + divergence_units - 1) / divergence_units;
}

// A job and all that it points to, zero at first.
struct DivergenceMemory {
    DivergenceJob job{};

    // For batches of up to n_data rows and n_model rows of the model.
    DivergenceMemory(std::size_t n_visible, std::size_t n_hidden, std::size_t n_data, std::size_t n_model, Visible kind,
                     const DivergenceKernels& kernels);
    void add_velocity();
    void load_weights(View2<const float> weights);

  private:
    using Words = std::unique_ptr<std::uint32_t[], AlignedDelete>;
    std::vector<Words> arrays_;

    std::uint32_t* words(std::size_t n_row, std::size_t n_word);
    float* floats(std::size_t n_row, std::size_t n_word) { return reinterpret_cast<float*>(words(n_row, n_word)); }
};

template <class T>
void copy(View1<T> from, float* to) {
    if (from.size > 0) {
        std::memcpy(to, from.data, from.size * sizeof(float));
    }
}

inline void copy_out(const float* from, View1<float> to) {
    if (to.size > 0) {
        std::memcpy(to.data, from, to.size * sizeof(float));
    }
}

} // namespace starskope::detail
