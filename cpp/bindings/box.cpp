#include "starskope/box.hpp"

#include "arrays.hpp"
#include "registrars.hpp"

namespace starskope::bindings {
namespace {

template <class T>
View2<T> optional_view2(const py::object& value, const char* name) {
    return value.is_none() ? View2<T>{} : view2<T>(value, name);
}

template <class Search>
Search ready(const py::object& time, const py::object& flux, const py::object& error) {
    const auto times = view1<const double>(time, "time");
    const auto block = view2<const float>(flux, "flux");
    const auto errors = optional_view2<const float>(error, "error");
    const py::gil_scoped_release release;
    return Search(times, block, errors);
}

BoxTrials box_trials(const py::object& period, const py::object& duration, int oversample, const py::object& first,
                     const py::object& last, bool likelihood) {
    return {
        .period = view1<const double>(period, "period"),
        .duration = view1<const double>(duration, "duration"),
        .oversample = oversample,
        .first = view1<const std::int32_t>(first, "first"),
        .last = view1<const std::int32_t>(last, "last"),
        .objective = likelihood ? BoxObjective::likelihood : BoxObjective::snr,
    };
}

} // namespace

void register_box(py::module_& module) {
    py::class_<BoxSearch>(module, "BoxSearch")
        .def(py::init(&ready<BoxSearch>), py::arg("time"), py::arg("flux"), py::arg("error") = py::none())
        .def_property_readonly("weight",
                               [](const BoxSearch& search) {
                                   const View1<const double> weight = search.weight();
                                   return py::array_t<double>(static_cast<py::ssize_t>(weight.size), weight.data);
                               })
        .def(
            "run",
            [](const BoxSearch& search, const py::object& period, const py::object& duration, int oversample,
               const py::object& first, const py::object& last, bool likelihood, const py::object& power,
               const py::object& inverted, const py::object& depth, const py::object& index, const py::object& start) {
                const BoxTrials trials = box_trials(period, duration, oversample, first, last, likelihood);
                const BoxResult result{
                    .power = optional_view2<float>(power, "power"),
                    .inverted = optional_view2<float>(inverted, "inverted"),
                    .depth = optional_view2<float>(depth, "depth"),
                    .duration = optional_view2<std::int32_t>(index, "index"),
                    .start = optional_view2<std::int32_t>(start, "start"),
                };
                const py::gil_scoped_release release;
                search.run(trials, result);
            },
            py::arg("period"), py::kw_only(), py::arg("duration"), py::arg("oversample"), py::arg("first"),
            py::arg("last"), py::arg("likelihood"), py::arg("power") = py::none(), py::arg("inverted") = py::none(),
            py::arg("depth") = py::none(), py::arg("index") = py::none(), py::arg("start") = py::none());
    py::class_<BoxScan>(module, "BoxScan")
        .def(py::init(&ready<BoxScan>), py::arg("time"), py::arg("flux"), py::arg("error") = py::none())
        .def(
            "run",
            [](const BoxScan& scan, const py::object& period, const py::object& duration, int oversample,
               const py::object& first, const py::object& last, bool likelihood, const py::object& power,
               const py::object& inverted) {
                const BoxTrials trials = box_trials(period, duration, oversample, first, last, likelihood);
                const auto dips = view2<float>(power, "power");
                const auto rises = optional_view2<float>(inverted, "inverted");
                const py::gil_scoped_release release;
                scan.run(trials, dips, rises);
            },
            py::arg("period"), py::kw_only(), py::arg("duration"), py::arg("oversample"), py::arg("first"),
            py::arg("last"), py::arg("likelihood"), py::arg("power"), py::arg("inverted") = py::none());
}

} // namespace starskope::bindings
