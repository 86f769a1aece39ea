#include "starskope/spectra.hpp"

#include "arrays.hpp"
#include "registrars.hpp"

namespace starskope::bindings {
namespace {

std::size_t length(py::ssize_t n, const char* name) {
    if (n < 1 || static_cast<std::size_t>(n) > max_fft_length) {
        throw py::value_error(std::string(name) + "=" + std::to_string(n) + ": expected 1 to " +
                              std::to_string(max_fft_length));
    }
    return static_cast<std::size_t>(n);
}

// `density`: the cadence of one, or 0 for amplitudes.
SpectrumOptions options(bool linear, double density) {
    SpectrumOptions result{.trend = linear ? Trend::linear : Trend::constant};
    if (density != 0.0) {
        result.normalization = Normalization::density;
        result.cadence = density;
    }
    return result;
}

// (n_segment, n_freq, n_series) as one block of rows, all at one distance: a C-contiguous array or a range of its
// series.
View2<float> segments(const py::object& value, const char* name) {
    const py::array array = checked<float>(value, name, 3, true);
    constexpr auto size = static_cast<py::ssize_t>(sizeof(float));
    const py::ssize_t n_segment = array.shape(0), n_freq = array.shape(1), n_series = array.shape(2);
    py::ssize_t stride = n_series;
    if (array.size() > 0) { // strides of an empty array mean nothing, nor do those of an axis of one element
        const py::ssize_t row = n_freq > 1 ? array.strides(1) : n_segment > 1 ? array.strides(0) : n_series * size;
        stride = row / size;
        if ((n_series > 1 && array.strides(2) != size) || (n_segment > 1 && array.strides(0) != n_freq * row) ||
            stride < n_series || stride * size != row) {
            refuse(name, value, "contiguous rows, those of all segments at one distance");
        }
    }
    return {static_cast<float*>(const_cast<void*>(array.data())), static_cast<std::size_t>(n_segment * n_freq),
            static_cast<std::size_t>(n_series), static_cast<std::size_t>(stride)};
}

void require_segments(const py::object& out, std::size_t n_time, std::size_t segment, std::size_t step,
                      std::size_t n_series) {
    const std::size_t n_segment = n_time < segment ? 0 : 1 + (n_time - segment) / step;
    const py::tuple shape = out.attr("shape"), expected = py::make_tuple(n_segment, segment / 2 + 1, n_series);
    if (n_segment > 0 && !shape.equal(expected)) {
        throw py::value_error("out: has shape " + std::string(py::str(shape)) + ", expected " +
                              std::string(py::str(expected)));
    }
}

} // namespace

void register_spectra(py::module_& module) {
    module.def(
        "power_spectrum",
        [](const py::object& data, const py::object& out, const py::object& window, py::ssize_t n_fft, bool linear,
           double density) {
            const auto block = view2<const float>(data, "data");
            const auto power = view2<float>(out, "out");
            const auto taper = optional_view1<const float>(window, "window");
            const std::size_t n = length(n_fft, "n_fft");
            const py::gil_scoped_release release;
            power_spectrum(block, taper, n, power, options(linear, density));
        },
        py::arg("data"), py::arg("out"), py::arg("window"), py::arg("n_fft"), py::arg("linear") = false,
        py::arg("density") = 0.0);
    module.def(
        "autocorrelation",
        [](const py::object& data, const py::object& out, bool unbiased) {
            const auto block = view2<const float>(data, "data");
            const auto correlation = view2<float>(out, "out");
            const py::gil_scoped_release release;
            autocorrelation(block, correlation, unbiased);
        },
        py::arg("data"), py::arg("out"), py::arg("unbiased") = false);
    module.def(
        "spectrogram",
        [](const py::object& data, const py::object& out, const py::object& window, py::ssize_t segment,
           py::ssize_t step, bool linear, double density) {
            const auto block = view2<const float>(data, "data");
            const auto power = segments(out, "out");
            const auto taper = optional_view1<const float>(window, "window");
            const std::size_t n = length(segment, "segment"), every = length(step, "step");
            require_segments(out, block.n_row, n, every, block.n_col);
            const py::gil_scoped_release release;
            spectrogram(block, taper, n, every, power, options(linear, density));
        },
        py::arg("data"), py::arg("out"), py::arg("window"), py::arg("segment"), py::arg("step"),
        py::arg("linear") = false, py::arg("density") = 0.0);
    module.def(
        "lomb_scargle",
        [](const py::object& data, const py::object& weights, const py::object& out, py::ssize_t n_fft,
           const py::object& count, const py::object& spread) {
            const auto block = view2<const float>(data, "data");
            const auto power = view2<float>(out, "out");
            PointExtent extent;
            if (!count.is_none() || !spread.is_none()) {
                extent = {view1<double>(count, "count"), view1<double>(spread, "spread")};
            }
            PointWeights relative;
            if (!weights.is_none()) {
                const bool shared =
                    py::isinstance<py::array>(weights) && py::reinterpret_borrow<py::array>(weights).ndim() == 1;
                if (shared) {
                    relative.shared = view1<const float>(weights, "weights");
                } else {
                    relative.each_series = view2<const float>(weights, "weights");
                }
            }
            const std::size_t n = length(n_fft, "n_fft");
            const py::gil_scoped_release release;
            lomb_scargle(block, relative, n, power, extent);
        },
        py::arg("data"), py::arg("weights"), py::arg("out"), py::arg("n_fft"), py::arg("count") = py::none(),
        py::arg("spread") = py::none());
}

} // namespace starskope::bindings
