#include "starskope/md5.hpp"

#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>

#include "registrars.hpp"

namespace starskope::bindings {

namespace py = pybind11;

namespace {

// Python may call from several threads; the core leaves that to its callers.
struct LockedMd5 {
    std::shared_ptr<Md5Lanes> lanes;
    Md5 md5{*lanes};
    std::mutex mutex{};
};

py::bytes digest(LockedMd5& self) {
    std::array<unsigned char, 16> bytes;
    {
        const py::gil_scoped_release release;
        const std::lock_guard lock(self.mutex);
        bytes = self.md5.digest();
    }
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace

void register_md5(py::module_& module) {
    py::class_<Md5Lanes, std::shared_ptr<Md5Lanes>>(module, "Md5Lanes")
        .def(py::init<std::size_t>(), py::arg("backlog_bytes") = std::size_t{1} << 20);
    // It may have to wait for another thread.
    py::class_<LockedMd5>(module, "Md5", py::release_gil_before_calling_cpp_dtor())
        .def(py::init([](std::shared_ptr<Md5Lanes> lanes) {
                 return std::unique_ptr<LockedMd5>(new LockedMd5{std::move(lanes)});
             }),
             py::arg("lanes").none(false))
        .def(
            "update",
            [](LockedMd5& self, const py::buffer& data) {
                const py::buffer_info bytes = data.request();
                if (!PyBuffer_IsContiguous(bytes.view(), 'C')) {
                    throw py::value_error("data: expected contiguous bytes");
                }
                const View1<const unsigned char> view{static_cast<const unsigned char*>(bytes.ptr),
                                                      static_cast<std::size_t>(bytes.size * bytes.itemsize)};
                const py::gil_scoped_release release;
                const std::lock_guard lock(self.mutex);
                self.md5.update(view);
            },
            py::arg("data"))
        .def("digest", &digest);
}

} // namespace starskope::bindings
