#include "starskope/sky.hpp"

#include "arrays.hpp"
#include "registrars.hpp"

namespace starskope::bindings {
namespace {

View2<const float> optional_image(const py::object& value, const char* name) {
    return value.is_none() ? View2<const float>{} : view2<const float>(value, name);
}

Surface surface_of(const py::object& line, const py::object& start, const py::object& weight) {
    if (line.is_none()) {
        return {};
    }
    return {view2<const float>(line, "line"), view1<const std::int64_t>(start, "start"),
            view2<const float>(weight, "weight")};
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
        [](const py::object& image, const py::object& row, const py::object& column, double inner, double outer,
           double sigma, const py::object& median, const py::object& count) {
            const auto pixels = view2<const float>(image, "image");
            const auto rows = view1<const std::int64_t>(row, "row");
            const auto columns = view1<const std::int64_t>(column, "column");
            const auto medians = view1<float>(median, "median");
            const auto counts = view1<std::int32_t>(count, "count");
            const py::gil_scoped_release release;
            ring_medians(pixels, rows, columns, inner, outer, sigma, medians, counts);
        },
        py::arg("image"), py::arg("row"), py::arg("column"), py::arg("inner"), py::arg("outer"), py::arg("sigma"),
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
}

} // namespace starskope::bindings
