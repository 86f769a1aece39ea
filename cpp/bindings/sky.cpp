#include "starskope/sky.hpp"

#include "arrays.hpp"
#include "registrars.hpp"
#include "surface.hpp"

namespace starskope::bindings {
namespace {

View2<const float> optional_image(const py::object& value, const char* name) {
    return value.is_none() ? View2<const float>{} : view2<const float>(value, name);
}

} // namespace

void register_sky(py::module_& module) {
    module.def(
        "box_medians",
        [](const py::object& image, const py::object& rows, const py::object& columns, const py::object& line,
           const py::object& start, const py::object& weight, double sigma, const py::object& median,
           const py::object& count) {
            const auto pixels = view2<const float>(image, "image");
            const auto row_edges = view1<const std::int64_t>(rows, "rows");
            const auto column_edges = view1<const std::int64_t>(columns, "columns");
            const Surface surface = surface_of(line, start, weight);
            const auto medians = view2<float>(median, "median");
            const auto counts = view2<std::int32_t>(count, "count");
            const py::gil_scoped_release release;
            box_medians(pixels, row_edges, column_edges, surface, sigma, medians, counts);
        },
        py::arg("image"), py::arg("rows"), py::arg("columns"), py::arg("line"), py::arg("start"), py::arg("weight"),
        py::arg("sigma"), py::arg("median"), py::arg("count"));
    module.def(
        "ring_medians",
        [](const py::object& image, const py::object& row, const py::object& column, const py::object& inner,
           double width, double sigma, const py::object& median, const py::object& count) {
            const auto pixels = view2<const float>(image, "image");
            const auto rows = view1<const std::int64_t>(row, "row");
            const auto columns = view1<const std::int64_t>(column, "column");
            const auto radii = view1<const double>(inner, "inner");
            const auto medians = view1<float>(median, "median");
            const auto counts = view1<std::int32_t>(count, "count");
            const py::gil_scoped_release release;
            ring_medians(pixels, rows, columns, radii, width, sigma, medians, counts);
        },
        py::arg("image"), py::arg("row"), py::arg("column"), py::arg("inner"), py::arg("width"), py::arg("sigma"),
        py::arg("median"), py::arg("count"));
    module.def(
        "subtract_surface",
        [](const py::object& image, const py::object& line, const py::object& start, const py::object& weight,
           const py::object& out) {
            const auto pixels = optional_image(image, "image");
            const Surface surface = surface_of(line, start, weight);
            const auto to = view2<float>(out, "out");
            const py::gil_scoped_release release;
            subtract_surface(pixels, surface, to);
        },
        py::arg("image"), py::arg("line"), py::arg("start"), py::arg("weight"), py::arg("out"));
    module.def(
        "surface_lines",
        [](const py::object& knot, const py::object& start, const py::object& weight, const py::object& line) {
            const auto knots = view2<const float>(knot, "knot");
            const auto starts = view1<const std::int64_t>(start, "start");
            const auto weights = view2<const float>(weight, "weight");
            const auto to = view2<float>(line, "line");
            const py::gil_scoped_release release;
            surface_lines(knots, starts, weights, to);
        },
        py::arg("knot"), py::arg("start"), py::arg("weight"), py::arg("line"));
    module.def(
        "surface_values",
        [](const py::object& line, const py::object& start, const py::object& weight, const py::object& row,
           const py::object& column, const py::object& value) {
            const Surface surface = surface_of(line, start, weight);
            const auto rows = view1<const double>(row, "row");
            const auto columns = view1<const double>(column, "column");
            const auto to = view1<double>(value, "value");
            const py::gil_scoped_release release;
            surface_values(surface, rows, columns, to);
        },
        py::arg("line"), py::arg("start"), py::arg("weight"), py::arg("row"), py::arg("column"), py::arg("value"));
}

} // namespace starskope::bindings
