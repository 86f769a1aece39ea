// How Python hands over a surface: three arrays, or None for no surface.
#pragma once

#include "arrays.hpp"
#include "starskope/sky.hpp"

namespace starskope::bindings {

inline Surface surface_of(const py::object& line, const py::object& start, const py::object& weight) {
    if (line.is_none()) {
        return {};
    }
    return {view2<const float>(line, "line"), view1<const std::int64_t>(start, "start"),
            view2<const float>(weight, "weight")};
}

} // namespace starskope::bindings
