#include "starskope/decode.hpp"

#include "arrays.hpp"
#include "registrars.hpp"

namespace starskope::bindings {

void register_decode(py::module_& module) {
    module.def(
        "decode_plane",
        [](const py::buffer& buffer, py::ssize_t offset, const py::object& out) {
            const py::buffer_info bytes = buffer.request();
            if (!PyBuffer_IsContiguous(bytes.view(), 'C')) {
                throw py::value_error("buffer: expected contiguous bytes");
            }
            if (offset < 0) {
                throw py::value_error("offset=" + std::to_string(offset) + ": expected 0 or more bytes");
            }
            const View1<const unsigned char> from{static_cast<const unsigned char*>(bytes.ptr),
                                                  static_cast<std::size_t>(bytes.size * bytes.itemsize)};
            const auto to = view2<float>(out, "out");
            const py::gil_scoped_release release;
            decode_plane(from, static_cast<std::size_t>(offset), to);
        },
        py::arg("buffer"), py::arg("offset"), py::arg("out"));
}

} // namespace starskope::bindings
