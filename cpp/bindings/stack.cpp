#include "starskope/stack.hpp"

#include "arrays.hpp"
#include "registrars.hpp"

namespace starskope::bindings {
namespace {

Center parse_center(const std::string& center) {
    if (center == "mean") {
        return Center::mean;
    }
    if (center == "median") {
        return Center::median;
    }
    throw py::value_error("center='" + center + "': expected 'mean' or 'median'");
}

} // namespace

void register_stack(py::module_& module) {
    module.def(
        "clip",
        [](const py::object& data, double sigma_low, double sigma_high, int max_iters, const std::string& center,
           const py::object& mean, const py::object& median, const py::object& std, const py::object& count) {
            const auto block = view2<const float>(data, "data");
            const Clip settings{sigma_low, sigma_high, max_iters, parse_center(center)};
            const SeriesStatistics out{
                .mean = optional_view1<float>(mean, "mean"),
                .median = optional_view1<float>(median, "median"),
                .std = optional_view1<float>(std, "std"),
                .count = optional_view1<std::int32_t>(count, "count"),
            };
            const py::gil_scoped_release release;
            series_statistics(block, settings, out);
        },
        py::arg("data"), py::kw_only(), py::arg("sigma_low"), py::arg("sigma_high"), py::arg("max_iters"),
        py::arg("center"), py::arg("mean") = py::none(), py::arg("median") = py::none(), py::arg("std") = py::none(),
        py::arg("count") = py::none());
}

} // namespace starskope::bindings
