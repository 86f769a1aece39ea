// What entry points hand to the kernels of transforms. All sizes were checked.
#pragma once

#include "fft_plan.hpp"

namespace starskope::detail {

enum class TransformKind { complex, from_real, to_real };

// Transforms of n_series series. Complex numbers are pairs (re, im); strides count T.
template <class T>
struct TransformJob {
    const FftGrid* grid = nullptr; // without residues
    TransformKind kind = TransformKind::complex;
    bool backward = false;   // of complex series; those to real ones are
    const T* data = nullptr; // (n_in, n_series), rows in_stride apart; further rows are 0
    size_t n_in = 0;
    size_t n_series = 0;
    size_t in_stride = 0;
    T* out = nullptr; // (n_fft or n_fft / 2 + 1, n_series), rows out_stride apart
    size_t out_stride = 0;
    double factor = 1.0;  // of what is written
    T* scratch = nullptr; // 64-byte aligned, transform_scratch(*grid) of T
};

} // namespace starskope::detail
