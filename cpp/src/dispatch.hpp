// The kernels in use, and scratch memory for them. Private to the entry points.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "kernels.hpp"

namespace starskope::detail {

const Kernels& active();

struct AlignedDelete {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t{64}); }
};

// `size` elements on a 64-byte boundary, uninitialised.
template <class T>
std::unique_ptr<T[], AlignedDelete> make_scratch(std::size_t size) {
    return std::unique_ptr<T[], AlignedDelete>(
        static_cast<T*>(::operator new((size ? size : 1) * sizeof(T), std::align_val_t{64})));
}

} // namespace starskope::detail
