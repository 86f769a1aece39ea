#pragma once

#include <pybind11/pybind11.h>

namespace starskope::bindings {

void register_isa(pybind11::module_& module);
void register_decode(pybind11::module_& module);
void register_stack(pybind11::module_& module);
void register_photometry(pybind11::module_& module);
void register_sky(pybind11::module_& module);
void register_box(pybind11::module_& module);
void register_spectra(pybind11::module_& module);
void register_transforms(pybind11::module_& module);
void register_divergence(pybind11::module_& module);
void register_md5(pybind11::module_& module);
void register_dips(pybind11::module_& module);

} // namespace starskope::bindings
