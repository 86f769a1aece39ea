#include <pybind11/complex.h>

#include "arrays.hpp"
#include "registrars.hpp"
#include "starskope/fft.hpp"

namespace starskope::bindings {
namespace {

// Not a length of a transform: the core says so.
std::size_t length(py::ssize_t n) {
    return n < 0 ? 0 : static_cast<std::size_t>(n);
}

template <class In, class Out, class Transform>
void run(const py::object& data, const py::object& out, py::ssize_t n_fft, const Transform& transform) {
    const auto block = view2<const In>(data, "data");
    const auto result = view2<Out>(out, "out");
    const py::gil_scoped_release release;
    transform(block, length(n_fft), result);
}

// The type of the output decides.
bool is_wide(const py::object& out) {
    return py::isinstance<py::array>(out) &&
           (py::reinterpret_borrow<py::array>(out).dtype().equal(py::dtype::of<double>()) ||
            py::reinterpret_borrow<py::array>(out).dtype().equal(py::dtype::of<std::complex<double>>()));
}

} // namespace

void register_transforms(py::module_& module) {
    module.def(
        "fft",
        [](const py::object& data, const py::object& out, py::ssize_t n_fft, bool backward, double factor) {
            const Direction direction = backward ? Direction::backward : Direction::forward;
            const auto transform = [&](auto block, std::size_t n, auto to) { fft(block, n, to, direction, factor); };
            if (is_wide(out)) {
                run<std::complex<double>, std::complex<double>>(data, out, n_fft, transform);
            } else {
                run<std::complex<float>, std::complex<float>>(data, out, n_fft, transform);
            }
        },
        py::arg("data"), py::arg("out"), py::arg("n_fft"), py::arg("backward") = false, py::arg("factor") = 1.0);
    module.def(
        "rfft",
        [](const py::object& data, const py::object& out, py::ssize_t n_fft, double factor) {
            const auto transform = [&](auto block, std::size_t n, auto to) { rfft(block, n, to, factor); };
            if (is_wide(out)) {
                run<double, std::complex<double>>(data, out, n_fft, transform);
            } else {
                run<float, std::complex<float>>(data, out, n_fft, transform);
            }
        },
        py::arg("data"), py::arg("out"), py::arg("n_fft"), py::arg("factor") = 1.0);
    module.def(
        "irfft",
        [](const py::object& data, const py::object& out, py::ssize_t n_fft, double factor) {
            const auto transform = [&](auto block, std::size_t n, auto to) { irfft(block, n, to, factor); };
            if (is_wide(out)) {
                run<std::complex<double>, double>(data, out, n_fft, transform);
            } else {
                run<std::complex<float>, float>(data, out, n_fft, transform);
            }
        },
        py::arg("data"), py::arg("out"), py::arg("n_fft"), py::arg("factor") = 1.0);
}

} // namespace starskope::bindings
