// Levels of the sky under random calls; see hostile.hpp.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "check.hpp"
#include "hostile.hpp"
#include "starskope/photometry.hpp"
#include "starskope/sky.hpp"

using namespace starskope;
using test::attack;
using test::Attack;

namespace {

// Mostly lines that lie in the surface: one bad start refuses the call.
Surface surface_of(Attack& a, std::size_t n_row, std::size_t n_col) {
    const std::size_t n_tap = a.once_in(24) ? a.below(7) : 1 + a.below(4), n_line = n_tap + a.below(9);
    Surface surface;
    surface.line = a.matrix<const float>(a.near(n_line), a.near(n_col));
    surface.start = a.vector<const std::int64_t>(
        a.near(n_row), [&](std::size_t) { return double(a.once_in(500) ? 99 : a.below(n_line - n_tap + 1)); });
    surface.weight = a.matrix<const float>(n_tap, a.near(n_row));
    return surface;
}

View1<const std::int64_t> edges_of(Attack& a, std::size_t n, std::size_t size) {
    const std::size_t step = size / std::max<std::size_t>(n, 1);
    return a.vector<const std::int64_t>(
        a.near(n + 1), [&](std::size_t i) { return double(a.once_in(500) ? a.below(99) : std::min(i * step, size)); });
}

// Also such that clip nothing, or everything.
double sigma_of(Attack& a) {
    constexpr double odd[] = {1e-300, 1e-42, 1e-3, 0.5, 1e300, std::numeric_limits<double>::infinity()};
    return a.once_in(3) ? odd[a.below(6)] : a.setting(3.0);
}

} // namespace

TEST(hostile_box_medians) {
    attack("box_medians", 2000, [](Attack& a) {
        const std::size_t n_row = a.size(), n_col = a.size(), n = a.below(6), m = a.below(6);
        const auto image = a.matrix<const float>(n_row, n_col);
        const auto rows = edges_of(a, n, n_row), columns = edges_of(a, m, n_col);
        const Surface surface = a.once_in(2) ? Surface{} : surface_of(a, n_row, n_col);
        auto median = a.matrix<float>(a.near(n), a.near(m));
        auto count = a.matrix<std::int32_t>(a.near(n), a.near(m));
        if (!a.once_in(4) && median.n_row > 1 && count.n_row > 1) { // gaps refuse the call
            median.stride = median.n_col;
            count.stride = count.n_col;
        }
        box_medians(image, rows, columns, surface, sigma_of(a), median, count);
    });
}

// More rows than there are numbers: of edges there is one more, which is none.
TEST(box_medians_count_edges_without_wrapping) {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    const float pixel = 1.0f;
    const std::int64_t edge[] = {0, 1};
    CHECK_THROWS(std::invalid_argument, "rows",
                 box_medians({&pixel, 1, 1}, {edge, 0}, {edge, 1}, {}, 3.0, {nullptr, most, 0}, {nullptr, most, 0}));
    CHECK_THROWS(std::invalid_argument, "columns",
                 box_medians({&pixel, 1, 1}, {edge, 1}, {edge, 0}, {}, 3.0, {nullptr, 0, most}, {nullptr, 0, most}));
}

TEST(hostile_ring_medians) {
    attack("ring_medians", 1500, [](Attack& a) {
        const std::size_t n_star = a.size();
        const auto image = a.matrix<const float>(a.size(), a.size());
        const auto place = [&](std::size_t) { return a.once_in(500) ? a.number() : double(a.below(60)); };
        const auto row = a.vector<const std::int64_t>(n_star, place);
        const auto column = a.vector<const std::int64_t>(a.near(n_star), place);
        const auto inner = a.vector<const double>(
            a.near(n_star), [&](std::size_t) { return a.once_in(500) ? a.number() : 0.5 * double(a.below(9)); });
        const double width = a.setting(1.0 + 0.5 * double(a.below(30)));
        const auto median = a.vector<float>(a.near(n_star));
        const auto count = a.vector<std::int32_t>(a.near(n_star));
        ring_medians(image, row, column, inner, width, sigma_of(a), median, count);
    });
    // Stars at the ends of the numbers.
    const float pixel = 1.0f;
    for (const std::int64_t far : {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(),
                                   (std::int64_t{1} << 30) + 1, -(std::int64_t{1} << 30)}) {
        const std::int64_t near = 0;
        float median = 7.0f;
        std::int32_t count = 7;
        const auto call = [&](const std::int64_t& row, const std::int64_t& column) {
            const double inner = 1.0;
            ring_medians({&pixel, 1, 1}, {&row, 1}, {&column, 1}, {&inner, 1}, 3.0, 3.0, {&median, 1}, {&count, 1});
        };
        if (far == -(std::int64_t{1} << 30)) {
            call(far, near);
            CHECK(std::isnan(median) && count == 0);
        } else {
            CHECK_THROWS(std::invalid_argument, "2^30", call(far, near));
            CHECK_THROWS(std::invalid_argument, "2^30", call(near, far));
            CHECK(median == 7.0f && count == 7);
        }
    }
}

TEST(hostile_subtract_surface) {
    attack("subtract_surface", 2000, [](Attack& a) {
        const std::size_t n_row = a.size(), n_col = a.size();
        const Surface surface = surface_of(a, n_row, n_col);
        const auto image = a.once_in(3) ? View2<const float>{} : a.matrix<const float>(a.near(n_row), a.near(n_col));
        subtract_surface(image, surface, a.matrix<float>(n_row, n_col));
    });
}

namespace {

struct Taps {
    View1<const std::int64_t> start;
    View2<const float> weight;
};

// Taps of about n places among n_of neighbours, which mostly fit.
Taps taps_near(Attack& a, std::size_t n, std::size_t n_of) {
    const std::size_t n_tap = 1 + a.below(a.once_in(20) ? 6 : 4);
    const std::size_t n_start = (n_of >= n_tap ? n_of - n_tap + 1 : 1) + (a.once_in(20) ? 1 : 0);
    const auto start = a.vector<const std::int64_t>(a.near(n), [&](std::size_t) { return double(a.below(n_start)); });
    return {start, a.matrix<const float>(n_tap, a.near(n))};
}

} // namespace

TEST(hostile_surfaces) {
    attack("aperture_sums of a surface", 2000, [](Attack& a) {
        const std::size_t n_star = a.size(), n_row = a.size(), n_col = a.size();
        const auto places = [&] { return a.vector<const double>(n_star); };
        const auto row = places(), column = places();
        const auto radius =
            a.vector<const double>(n_star, [&](std::size_t) { return 0.1 + 0.3 * double(a.below(20)); });
        aperture_sums(a.matrix<const float>(n_row, n_col), row, column, radius, a.vector<double>(n_star),
                      a.vector<double>(n_star), a.vector<std::int32_t>(n_star), surface_of(a, n_row, n_col));
    });
    attack("surface_values", 2000, [](Attack& a) {
        const std::size_t n_star = a.size();
        const Surface surface = surface_of(a, a.size(), a.size());
        surface_values(surface, a.vector<const double>(a.near(n_star)), a.vector<const double>(a.near(n_star)),
                       a.vector<double>(a.near(n_star)));
    });
    attack("surface_lines", 2000, [](Attack& a) {
        const std::size_t n_line = a.size(), n_knot = 4 + a.size(), n_col = a.size();
        const Taps taps = taps_near(a, n_col, n_knot);
        const auto knot = a.matrix<const float>(a.near(n_line), n_knot);
        surface_lines(knot, taps.start, taps.weight, a.matrix<float>(n_line, a.near(n_col)));
    });
}
