#include "starskope/stack.hpp"

#include <vector>

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

Scale parse_scale(const std::string& scale) {
    if (scale == "std") {
        return Scale::std;
    }
    if (scale == "mad") {
        return Scale::mad;
    }
    throw py::value_error("scale='" + scale + "': expected 'std' or 'mad'");
}

// float32 rows wherever they lie, in either byte order: an array (n_time, n_series) with contiguous rows at any
// distance, or a sequence of arrays (n_series).
struct Rows {
    std::vector<py::array> kept;
    std::vector<const unsigned char*> row;
    std::size_t n_series = 0;
    ByteOrder order = ByteOrder::native;

    explicit Rows(const py::object& data) {
        const bool whole = py::isinstance<py::array>(data);
        if (!whole && !py::isinstance<py::list>(data) && !py::isinstance<py::tuple>(data)) {
            refuse("data", data, "an array of float32 with 2 axes, or a list of arrays with 1");
        }
        if (whole) {
            const py::array array = checked_rows(data, 2);
            kept.push_back(array);
            n_series = static_cast<std::size_t>(array.shape(1));
            const auto* first = static_cast<const unsigned char*>(array.data());
            for (py::ssize_t i = 0; i < array.shape(0); ++i) {
                row.push_back(first + i * array.strides(0));
            }
            return;
        }
        for (const py::handle item : data) {
            const py::array array = checked_rows(py::reinterpret_borrow<py::object>(item), 1);
            const auto n = static_cast<std::size_t>(array.shape(0));
            if (!kept.empty() && n != n_series) {
                throw py::value_error("data: row " + std::to_string(kept.size()) + " has " + std::to_string(n) +
                                      " values, the others " + std::to_string(n_series));
            }
            n_series = n;
            kept.push_back(array);
            row.push_back(static_cast<const unsigned char*>(array.data()));
        }
    }

    Frames frames() const { return {.rows = {row.data(), row.size()}, .n_series = n_series, .order = order}; }

  private:
    py::array checked_rows(const py::object& value, int n_axis) {
        const char* expected = n_axis == 2 ? "an array of float32 with 2 axes and contiguous rows"
                                           : "arrays of float32 with 1 axis, contiguous and in one byte order";
        if (!py::isinstance<py::array>(value)) {
            refuse("data", value, expected);
        }
        auto array = py::reinterpret_borrow<py::array>(value);
        const bool native = array.dtype().equal(py::dtype::of<float>());
        if ((!native && !array.dtype().equal(py::dtype(">f4"))) || array.ndim() != n_axis ||
            (array.shape(n_axis - 1) > 1 && array.size() > 0 && array.strides(n_axis - 1) != 4)) {
            refuse("data", value, expected);
        }
        const ByteOrder found = native ? ByteOrder::native : ByteOrder::big;
        if (!kept.empty() && found != order) {
            refuse("data", value, expected);
        }
        order = found;
        return array;
    }
};

void add_weights(Frames& frames, const py::object& mask, const py::object& frame_weight, const py::object& weight) {
    if (!mask.is_none()) {
        frames.mask = view2<const std::uint8_t>(mask, "mask");
    }
    frames.frame_weight = optional_view1<const float>(frame_weight, "frame_weight");
    if (!weight.is_none()) {
        frames.weight = view2<const float>(weight, "weight");
    }
}

} // namespace

void register_stack(py::module_& module) {
    module.def(
        "clip",
        [](const py::object& data, double sigma_low, double sigma_high, int max_iters, const std::string& center,
           const std::string& scale, const py::object& mask, const py::object& frame_weight, const py::object& weight,
           const py::object& mean, const py::object& median, const py::object& std, const py::object& count,
           const py::object& rejected) {
            const Rows rows(data);
            Frames frames = rows.frames();
            add_weights(frames, mask, frame_weight, weight);
            const Clip settings{sigma_low, sigma_high, max_iters, parse_center(center), parse_scale(scale)};
            const SeriesStatistics out{
                .mean = optional_view1<float>(mean, "mean"),
                .median = optional_view1<float>(median, "median"),
                .std = optional_view1<float>(std, "std"),
                .count = optional_view1<std::int32_t>(count, "count"),
                .rejected = rejected.is_none() ? View2<std::uint8_t>{} : view2<std::uint8_t>(rejected, "rejected"),
            };
            const py::gil_scoped_release release;
            series_statistics(frames, settings, out);
        },
        py::arg("data"), py::kw_only(), py::arg("sigma_low"), py::arg("sigma_high"), py::arg("max_iters"),
        py::arg("center"), py::arg("scale") = "std", py::arg("mask") = py::none(), py::arg("frame_weight") = py::none(),
        py::arg("weight") = py::none(), py::arg("mean") = py::none(), py::arg("median") = py::none(),
        py::arg("std") = py::none(), py::arg("count") = py::none(), py::arg("rejected") = py::none());
    module.def(
        "add_frames",
        [](const py::object& data, const py::object& count, const py::object& mean, const py::object& squares,
           const py::object& mask) {
            const Rows rows(data);
            Frames frames = rows.frames();
            add_weights(frames, mask, py::none(), py::none());
            const SeriesMoments moments{view1<double>(count, "count"), view1<double>(mean, "mean"),
                                        view1<double>(squares, "squares")};
            const py::gil_scoped_release release;
            starskope::add_frames(frames, moments);
        },
        py::arg("data"), py::arg("count"), py::arg("mean"), py::arg("squares"), py::arg("mask") = py::none());
    module.def("merge_moments",
               [](const py::object& count, const py::object& mean, const py::object& squares,
                  const py::object& other_count, const py::object& other_mean, const py::object& other_squares) {
                   const SeriesMoments into{view1<double>(count, "count"), view1<double>(mean, "mean"),
                                            view1<double>(squares, "squares")};
                   // Only read.
                   const auto from = [](const py::object& value, const char* name) {
                       const auto view = view1<const double>(value, name);
                       return View1<double>{const_cast<double*>(view.data), view.size};
                   };
                   const SeriesMoments others{from(other_count, "other_count"), from(other_mean, "other_mean"),
                                              from(other_squares, "other_squares")};
                   const py::gil_scoped_release release;
                   merge_moments(into, others);
               });
}

} // namespace starskope::bindings
