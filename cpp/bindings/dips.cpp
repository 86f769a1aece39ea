#include "starskope/dips.hpp"

#include <vector>

#include "arrays.hpp"
#include "registrars.hpp"

namespace starskope::bindings {
namespace {

StarPoints star_points(const py::object& time, const py::object& flux, const py::object& weight, double cadence) {
    return {view1<const double>(time, "time"), view1<const double>(flux, "flux"), view1<const double>(weight, "weight"),
            cadence};
}

PeriodTrials period_trials(const py::object& period, const py::object& shortest, const py::object& longest,
                           const py::object& edge, const py::object& centre) {
    return {view1<const double>(period, "period"), view1<const double>(shortest, "shortest"),
            view1<const double>(longest, "longest"), view1<const std::int64_t>(edge, "edge"),
            view1<const double>(centre, "centre")};
}

py::tuple numbers(const VettedDip& of) {
    return py::make_tuple(of.period, of.t0, of.duration, of.depth, of.depth_err, of.snr, of.n_transits, of.n_consistent,
                          of.steadiness, of.odd_even, of.odd_even_err, of.secondary, of.secondary_err,
                          of.secondary_phase, of.n_secondary, of.bump, of.flat_bottom, of.flat_bottom_max, of.length,
                          of.period_err, of.t0_err, of.gain, of.level);
}

py::list listed(const std::vector<SingleDip>& dips, std::size_t n) {
    py::list out;
    for (std::size_t i = 0; i < n; ++i) {
        out.append(py::make_tuple(dips[i].time, dips[i].duration, dips[i].depth, dips[i].error, dips[i].snr));
    }
    return out;
}

} // namespace

void register_dips(py::module_& module) {
    module.def(
        "best_peak",
        [](const py::object& time, const py::object& flux, const py::object& weight, double cadence, bool upside_down,
           const py::object& statistic, const py::object& period, const py::object& shortest, const py::object& longest,
           const py::object& edge, const py::object& centre) {
            const StarPoints points = star_points(time, flux, weight, cadence);
            const auto spectrum = view1<const float>(statistic, "statistic");
            const PeriodTrials trials = period_trials(period, shortest, longest, edge, centre);
            double sde = 0.0;
            VettedDip found{};
            bool dips = false;
            {
                const py::gil_scoped_release release;
                dips = best_peak(points, upside_down, spectrum, trials, sde, found);
            }
            return py::make_tuple(sde, dips ? py::object(numbers(found)) : py::none());
        },
        py::arg("time"), py::arg("flux"), py::arg("weight"), py::arg("cadence"), py::arg("upside_down"),
        py::arg("statistic"), py::arg("period"), py::arg("shortest"), py::arg("longest"), py::arg("edge"),
        py::arg("centre"));
    module.def(
        "detrend_spectrum",
        [](const py::object& statistic, const py::object& edge, const py::object& centre, const py::object& out) {
            const auto spectrum = view1<const float>(statistic, "statistic");
            const auto edges = view1<const std::int64_t>(edge, "edge");
            const auto centres = view1<const double>(centre, "centre");
            const auto efficiency = view1<double>(out, "out");
            const py::gil_scoped_release release;
            detrend_spectrum(spectrum, edges, centres, efficiency);
        },
        py::arg("statistic"), py::arg("edge"), py::arg("centre"), py::arg("out"));
    module.def(
        "locate_box",
        [](const py::object& time, const py::object& flux, const py::object& weight, double cadence, double period,
           double shortest, double longest) -> py::object {
            const StarPoints points = star_points(time, flux, weight, cadence);
            Ephemeris found{};
            if (!locate_box(points, period, shortest, longest, found)) {
                return py::none();
            }
            return py::make_tuple(found.period, found.t0, found.duration);
        },
        py::arg("time"), py::arg("flux"), py::arg("weight"), py::arg("cadence"), py::arg("period"), py::arg("shortest"),
        py::arg("longest"));
    module.def(
        "refine_box",
        [](const py::object& time, const py::object& flux, const py::object& weight, double cadence, double period,
           double t0, double duration, double frequency_step, double shortest, double longest) {
            const StarPoints points = star_points(time, flux, weight, cadence);
            const Ephemeris found = refine_box(points, {period, t0, duration}, frequency_step, shortest, longest);
            return py::make_tuple(found.period, found.t0, found.duration);
        },
        py::arg("time"), py::arg("flux"), py::arg("weight"), py::arg("cadence"), py::arg("period"), py::arg("t0"),
        py::arg("duration"), py::arg("frequency_step"), py::arg("shortest"), py::arg("longest"));
    module.def(
        "single_dips",
        [](const py::object& time, const py::object& flux, const py::object& weight, double cadence,
           const py::object& duration, const py::object& forbidden, std::size_t n_dip) {
            const StarPoints points = star_points(time, flux, weight, cadence);
            const auto durations = view1<const double>(duration, "duration");
            const auto times = view1<const double>(forbidden, "forbidden");
            std::vector<SingleDip> dips(n_dip), rises(n_dip);
            SingleCounts n{};
            {
                const py::gil_scoped_release release;
                n = single_dips(points, durations, times, {dips.data(), n_dip}, {rises.data(), n_dip});
            }
            return py::make_tuple(listed(dips, n.n_dip), listed(rises, n.n_rise));
        },
        py::arg("time"), py::arg("flux"), py::arg("weight"), py::arg("cadence"), py::arg("duration"),
        py::arg("forbidden"), py::arg("n_dip"));
    module.def(
        "centre_series",
        [](const py::object& flux, const py::object& part, std::int64_t n_part, const py::object& out) {
            const auto series = view2<const float>(flux, "flux");
            const auto parts = view1<const std::int64_t>(part, "part");
            const auto centred = view2<float>(out, "out");
            const py::gil_scoped_release release;
            centre_series(series, parts, n_part, centred);
        },
        py::arg("flux"), py::arg("part"), py::arg("n_part"), py::arg("out"));
}

} // namespace starskope::bindings
