// Views of other people's memory: how every capability takes arrays.
//
// A view owns nothing. Rows are contiguous; consecutive rows lie `stride` elements apart, so that a range of series of
// a time-major block is a view like the whole block is.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace starskope {

// (size) contiguous elements; data may be null where a capability says that an output is optional.
template <class T>
struct View1 {
    T* data = nullptr;
    std::size_t size = 0;

    constexpr explicit operator bool() const { return data != nullptr; }
};

// (n_row, n_col) elements, row i starting at data + i * stride. For a time-major block rows are times.
template <class T>
struct View2 {
    T* data = nullptr;
    std::size_t n_row = 0;
    std::size_t n_col = 0;
    std::size_t stride = 0;

    constexpr View2() = default;
    constexpr View2(T* data_, std::size_t n_row_, std::size_t n_col_) : View2(data_, n_row_, n_col_, n_col_) {}
    constexpr View2(T* data_, std::size_t n_row_, std::size_t n_col_, std::size_t stride_)
        : data(data_), n_row(n_row_), n_col(n_col_), stride(stride_) {}
};

// Throws std::invalid_argument when the rows of a view overlap or a view with elements points nowhere.
template <class T>
void require_rows(const View2<T>& view, const char* name) {
    if (view.n_row > 1 && view.stride < view.n_col) {
        throw std::invalid_argument(std::string(name) + ": rows of " + std::to_string(view.n_col) +
                                    " elements cannot lie " + std::to_string(view.stride) + " apart");
    }
    if (view.data == nullptr && view.n_row != 0 && view.n_col != 0) {
        throw std::invalid_argument(std::string(name) + ": null pointer for " + std::to_string(view.n_row) + " x " +
                                    std::to_string(view.n_col) + " elements");
    }
}

// Throws std::invalid_argument unless the view has exactly `size` elements.
template <class T>
void require_size(const View1<T>& view, std::size_t size, const char* name) {
    if (view.size != size || (view.data == nullptr && size != 0)) {
        throw std::invalid_argument(std::string(name) + ": has " + std::to_string(view.data ? view.size : 0) +
                                    " elements, expected " + std::to_string(size));
    }
}

} // namespace starskope
