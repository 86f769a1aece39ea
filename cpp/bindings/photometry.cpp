#include "starskope/photometry.hpp"

#include "arrays.hpp"
#include "registrars.hpp"
#include "surface.hpp"

namespace starskope::bindings {

void register_photometry(py::module_& module) {
    module.def(
        "aperture_sums",
        [](const py::object& image, const py::object& row, const py::object& column, const py::object& radius,
           const py::object& total, const py::object& area, const py::object& n_bad, const py::object& line,
           const py::object& start, const py::object& weight) {
            const auto pixels = view2<const float>(image, "image");
            const auto rows = view1<const double>(row, "row");
            const auto columns = view1<const double>(column, "column");
            const auto radii = view1<const double>(radius, "radius");
            const auto totals = view1<double>(total, "total");
            const auto areas = view1<double>(area, "area");
            const auto bad = view1<std::int32_t>(n_bad, "n_bad");
            const Surface surface = surface_of(line, start, weight);
            const py::gil_scoped_release release;
            aperture_sums(pixels, rows, columns, radii, totals, areas, bad, surface);
        },
        py::arg("image"), py::arg("row"), py::arg("column"), py::arg("radius"), py::arg("total"), py::arg("area"),
        py::arg("n_bad"), py::arg("line") = py::none(), py::arg("start") = py::none(), py::arg("weight") = py::none());
}

} // namespace starskope::bindings
