// NumPy arrays to views: dtype, axes, layout and writability are checked here and the message names the argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "starskope/view.hpp"

namespace starskope::bindings {

namespace py = pybind11;

[[noreturn]] void refuse(const char* name, const py::object& value, const std::string& expected);

// Array with native elements of type T and n_axis axes, aligned; writable when asked. Raises TypeError or ValueError.
template <class T>
py::array checked(const py::object& value, const char* name, int n_axis, bool writable) {
    // Worded only where it is told: the name of a dtype takes longer than many a call.
    const auto otherwise = [&](const char* more) {
        refuse(name, value,
               "an array of " + std::string(py::str(py::dtype::of<T>())) + " with " + std::to_string(n_axis) +
                   (n_axis == 1 ? " axis" : " axes") + more);
    };
    if (!py::isinstance<py::array>(value)) {
        otherwise("");
    }
    auto array = py::reinterpret_borrow<py::array>(value);
    if (!array.dtype().equal(py::dtype::of<T>())) {
        otherwise(" in native byte order");
    }
    if (array.ndim() != n_axis) {
        otherwise("");
    }
    if ((array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) {
        otherwise(", aligned");
    }
    if (writable && !array.writeable()) {
        otherwise(", writable");
    }
    return array;
}

// Contiguous (size) elements. `T` const: read only.
template <class T>
View1<T> view1(const py::object& value, const char* name) {
    using Element = std::remove_const_t<T>;
    const py::array array = checked<Element>(value, name, 1, !std::is_const_v<T>);
    if (array.shape(0) > 1 && array.strides(0) != static_cast<py::ssize_t>(sizeof(T))) {
        refuse(name, value, "contiguous elements");
    }
    return {static_cast<T*>(const_cast<void*>(array.data())), static_cast<std::size_t>(array.shape(0))};
}

// None gives a null view, for outputs that the caller does not want.
template <class T>
View1<T> optional_view1(const py::object& value, const char* name) {
    return value.is_none() ? View1<T>{} : view1<T>(value, name);
}

// (n_row, n_col) with contiguous rows at any distance: a C-contiguous array or a range of its columns.
template <class T>
View2<T> view2(const py::object& value, const char* name) {
    using Element = std::remove_const_t<T>;
    const py::array array = checked<Element>(value, name, 2, !std::is_const_v<T>);
    constexpr auto size = static_cast<py::ssize_t>(sizeof(T));
    const py::ssize_t n_row = array.shape(0), n_col = array.shape(1);
    const bool filled = n_row > 0 && n_col > 0; // strides of an empty array mean nothing
    if (filled && n_col > 1 && array.strides(1) != size) {
        refuse(name, value, "contiguous rows");
    }
    py::ssize_t stride = n_col;
    if (filled && n_row > 1) {
        stride = array.strides(0) / size;
        if (stride < n_col || stride * size != array.strides(0)) {
            refuse(name, value, "rows in increasing order that do not overlap");
        }
    }
    return {static_cast<T*>(const_cast<void*>(array.data())), static_cast<std::size_t>(n_row),
            static_cast<std::size_t>(n_col), static_cast<std::size_t>(stride)};
}

} // namespace starskope::bindings
