#include "arrays.hpp"

namespace starskope::bindings {

// "data: expected an array of float32 with 2 axes, got one of float64, shape (3, 4), strides (32, 8)"
void refuse(const char* name, const py::object& value, const std::string& expected) {
    std::string got;
    bool wrong_value = false;
    if (py::isinstance<py::array>(value)) {
        const auto array = py::reinterpret_borrow<py::array>(value);
        got = "one of " + std::string(py::str(array.dtype())) + ", shape " +
              std::string(py::str(py::object(array.attr("shape")))) + ", strides " +
              std::string(py::str(py::object(array.attr("strides"))));
        wrong_value = true;
    } else {
        got = std::string(py::str(py::type::of(value).attr("__name__")));
    }
    const std::string message = std::string(name) + ": expected " + expected + ", got " + got;
    if (wrong_value) {
        throw py::value_error(message);
    }
    throw py::type_error(message);
}

} // namespace starskope::bindings
