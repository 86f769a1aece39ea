#include "arrays.hpp"

namespace starskope::bindings {

// "data: expected a float32 array with 2 axes, got a float64 array of shape (3, 4)"
void refuse(const char* name, const py::object& value, const std::string& expected) {
    std::string got;
    bool wrong_value = false;
    if (py::isinstance<py::array>(value)) {
        const auto array = py::reinterpret_borrow<py::array>(value);
        got = "a " + std::string(py::str(array.dtype())) + " array of shape " +
              std::string(py::str(py::object(array.attr("shape")))) + " and strides " +
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
