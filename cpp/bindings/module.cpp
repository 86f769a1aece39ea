#include "registrars.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
    module.doc() = "The compiled core of starskope; see _core.pyi.";
    starskope::bindings::register_isa(module);
    starskope::bindings::register_decode(module);
    starskope::bindings::register_stack(module);
    starskope::bindings::register_photometry(module);
    starskope::bindings::register_sky(module);
    starskope::bindings::register_box(module);
    starskope::bindings::register_spectra(module);
    starskope::bindings::register_transforms(module);
    starskope::bindings::register_divergence(module);
    starskope::bindings::register_md5(module);
    starskope::bindings::register_dips(module);
}
