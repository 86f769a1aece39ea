#include "starskope/divergence.hpp"

#include <pybind11/stl.h>

#include "arrays.hpp"
#include "registrars.hpp"

namespace starskope::bindings {
namespace {

Visible visible_of(bool gaussian) {
    return gaussian ? Visible::gaussian : Visible::bernoulli;
}

template <class T>
View2<T> optional_view2(const py::object& value, const char* name) {
    return value.is_none() ? View2<T>{} : view2<T>(value, name);
}

// Views of the arrays in a dict of RbmState's names; those that may be null may be missing or None.
RbmState state_of(const py::dict& arrays) {
    const auto get = [&](const char* name) -> py::object {
        return arrays.contains(name) ? py::object(arrays[name]) : py::none();
    };
    return {.weights = view2<float>(get("weights"), "weights"),
            .visible_bias = view1<float>(get("visible_bias"), "visible_bias"),
            .hidden_bias = view1<float>(get("hidden_bias"), "hidden_bias"),
            .visible_offset = view1<float>(get("visible_offset"), "visible_offset"),
            .hidden_offset = view1<float>(get("hidden_offset"), "hidden_offset"),
            .chains = optional_view2<float>(get("chains"), "chains"),
            .weight_velocity = optional_view2<float>(get("weight_velocity"), "weight_velocity"),
            .visible_velocity = optional_view1<float>(get("visible_velocity"), "visible_velocity"),
            .hidden_velocity = optional_view1<float>(get("hidden_velocity"), "hidden_velocity")};
}

RbmParameters parameters_of(const py::object& weights, const py::object& visible_bias, const py::object& hidden_bias,
                            bool gaussian) {
    return {.weights = view2<const float>(weights, "weights"),
            .visible_bias = view1<const float>(visible_bias, "visible_bias"),
            .hidden_bias = view1<const float>(hidden_bias, "hidden_bias"),
            .visible = visible_of(gaussian)};
}

} // namespace

void register_divergence(py::module_& module) {
    py::class_<ContrastiveDivergence>(module, "ContrastiveDivergence")
        .def(py::init([](const py::dict& state, bool gaussian, bool mixed, bool emulate, bool centered,
                         bool has_hidden_offset, std::size_t k, std::size_t batch_size, float learning_rate,
                         float momentum, float weight_decay, float offset_rate, std::array<std::uint32_t, 2> seed) {
                 const RbmState views = state_of(state);
                 const RbmTraining training{.visible = visible_of(gaussian),
                                            .precision = mixed ? Precision::mixed : Precision::float32,
                                            .emulate = emulate,
                                            .centered = centered,
                                            .has_hidden_offset = has_hidden_offset,
                                            .k = k,
                                            .batch_size = batch_size,
                                            .learning_rate = learning_rate,
                                            .momentum = momentum,
                                            .weight_decay = weight_decay,
                                            .offset_rate = offset_rate,
                                            .seed = seed};
                 const py::gil_scoped_release release;
                 return std::make_unique<ContrastiveDivergence>(views, training);
             }),
             py::arg("state"), py::kw_only(), py::arg("gaussian"), py::arg("mixed") = false, py::arg("emulate") = false,
             py::arg("centered"), py::arg("has_hidden_offset"), py::arg("k"), py::arg("batch_size"),
             py::arg("learning_rate"), py::arg("momentum"), py::arg("weight_decay"), py::arg("offset_rate"),
             py::arg("seed"))
        .def(
            "learn",
            [](ContrastiveDivergence& self, const py::object& data, const py::object& order, std::uint32_t epoch,
               std::uint32_t first_batch) {
                const auto rows = view2<const float>(data, "data");
                const auto places = view1<const std::int64_t>(order, "order");
                const py::gil_scoped_release release;
                self.learn(rows, places, epoch, first_batch);
            },
            py::arg("data"), py::arg("order"), py::arg("epoch"), py::arg("first_batch"))
        .def("admit", &ContrastiveDivergence::admit)
        .def("help", &ContrastiveDivergence::help, py::call_guard<py::gil_scoped_release>())
        .def("release", &ContrastiveDivergence::release)
        .def(
            "store",
            [](const ContrastiveDivergence& self, const py::dict& state) {
                const RbmState views = state_of(state);
                const py::gil_scoped_release release;
                self.store(views);
            },
            py::arg("state"))
        .def("finite", &ContrastiveDivergence::finite, py::call_guard<py::gil_scoped_release>());
    module.def("has_bfloat16", &has_bfloat16);
    module.def(
        "hidden_probabilities",
        [](const py::object& data, const py::object& weights, const py::object& visible_bias,
           const py::object& hidden_bias, const py::object& out) {
            const auto rows = view2<const float>(data, "data");
            const auto machine = parameters_of(weights, visible_bias, hidden_bias, false);
            const auto result = view2<float>(out, "out");
            const py::gil_scoped_release release;
            hidden_probabilities(machine, rows, result);
        },
        py::arg("data"), py::arg("weights"), py::arg("visible_bias"), py::arg("hidden_bias"), py::arg("out"));
    module.def(
        "free_energy",
        [](const py::object& data, const py::object& weights, const py::object& visible_bias,
           const py::object& hidden_bias, bool gaussian, const py::object& out) {
            const auto rows = view2<const float>(data, "data");
            const auto machine = parameters_of(weights, visible_bias, hidden_bias, gaussian);
            const auto result = view1<double>(out, "out");
            const py::gil_scoped_release release;
            free_energy(machine, rows, result);
        },
        py::arg("data"), py::arg("weights"), py::arg("visible_bias"), py::arg("hidden_bias"), py::kw_only(),
        py::arg("gaussian"), py::arg("out"));
    module.def(
        "gibbs",
        [](const py::object& data, const py::object& weights, const py::object& visible_bias,
           const py::object& hidden_bias, bool gaussian, std::size_t n_steps, std::array<std::uint32_t, 2> seed,
           std::uint32_t first_row, const py::object& out) {
            const auto rows = view2<const float>(data, "data");
            const auto machine = parameters_of(weights, visible_bias, hidden_bias, gaussian);
            const auto result = view2<float>(out, "out");
            const py::gil_scoped_release release;
            gibbs(machine, rows, n_steps, seed, first_row, result);
        },
        py::arg("data"), py::arg("weights"), py::arg("visible_bias"), py::arg("hidden_bias"), py::kw_only(),
        py::arg("gaussian"), py::arg("n_steps"), py::arg("seed"), py::arg("first_row"), py::arg("out"));
    module.def(
        "describe_rows",
        [](const py::object& data, const py::object& sums) {
            const auto rows = view2<const float>(data, "data");
            const auto result = view1<double>(sums, "sums");
            ValueRange range{};
            {
                const py::gil_scoped_release release;
                range = describe_rows(rows, result);
            }
            return py::make_tuple(range.low, range.high);
        },
        py::arg("data"), py::arg("sums"));
    module.def(
        "first_weights",
        [](const py::object& out, float deviation, std::array<std::uint32_t, 2> seed, std::uint32_t first_row) {
            const auto result = view2<float>(out, "out");
            const py::gil_scoped_release release;
            first_weights(deviation, seed, first_row, result);
        },
        py::arg("out"), py::kw_only(), py::arg("deviation"), py::arg("seed"), py::arg("first_row"));
}

} // namespace starskope::bindings
