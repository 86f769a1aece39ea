#include "starskope/isa.hpp"

#include <pybind11/stl.h>

#include "registrars.hpp"

namespace starskope::bindings {

namespace py = pybind11;

void register_isa(py::module_& module) {
    isa(); // a wrong STARSKOPE_ISA fails the import, not some later call
    module.def("isa", &isa);
    module.def("available_isas", &available_isas);
    module.def("use_isa", &use_isa, py::arg("name"));
    module.def("build_info", [] {
        const BuildInfo info = build_info();
        py::dict result;
        result["version"] = info.version;
        result["compiler"] = info.compiler;
        result["build_type"] = info.build_type;
        result["flags"] = info.kernel_flags;
        result["isas"] = info.isas;
        return result;
    });
}

} // namespace starskope::bindings
