#include "starskope/photometry.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "check.hpp"

using namespace starskope;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();
constexpr double pi = 3.14159265358979323846;

struct Sums {
    std::vector<double> total, area;
    std::vector<std::int32_t> n_bad;
};

Sums measure(const View2<const float>& image, const std::vector<double>& row, const std::vector<double>& column,
             const std::vector<double>& radius) {
    const std::size_t n = row.size();
    Sums sums{std::vector<double>(n, -7.0), std::vector<double>(n, -7.0), std::vector<std::int32_t>(n, -7)};
    aperture_sums(image, {row.data(), n}, {column.data(), n}, {radius.data(), n}, {sums.total.data(), n},
                  {sums.area.data(), n}, {sums.n_bad.data(), n});
    return sums;
}

// Area of the circle about 0 in [x0, x1] x [y0, y1]: chord lengths integrated between the points where their form
// changes, each piece by 40 Gauss-Legendre-like midpoint refinements of a smooth integrand; independent of the kernel's
// formula.
double overlap(double x0, double y0, double x1, double y1, double r) {
    std::vector<double> cut = {x0, x1};
    for (const double y : {y0, y1}) {
        if (std::fabs(y) < r) {
            for (const double sign : {-1.0, 1.0}) {
                cut.push_back(sign * std::sqrt(r * r - y * y));
            }
        }
    }
    cut.push_back(-r);
    cut.push_back(r);
    std::sort(cut.begin(), cut.end());
    double area = 0.0;
    for (std::size_t i = 0; i + 1 < cut.size(); ++i) {
        const double a = std::max(cut[i], x0), b = std::min(cut[i + 1], x1);
        if (!(b > a) || a >= r || b <= -r) {
            continue;
        }
        // x = r sin(angle) makes the integrand smooth at the rim; composite Gauss with three points.
        const double from = std::asin(std::max(-1.0, a / r)), to = std::asin(std::min(1.0, b / r));
        constexpr int n = 200;
        for (int k = 0; k < n; ++k) {
            const double h = (to - from) / n, middle = from + (k + 0.5) * h;
            for (const auto& [node, weight] :
                 {std::pair{-std::sqrt(0.6), 5.0 / 9}, {0.0, 8.0 / 9}, {std::sqrt(0.6), 5.0 / 9}}) {
                const double angle = middle + 0.5 * h * node, half_chord = r * std::cos(angle);
                const double length = std::min(y1, half_chord) - std::max(y0, -half_chord);
                area += length > 0 ? 0.5 * h * weight * length * r * std::cos(angle) : 0.0;
            }
        }
    }
    return area;
}

} // namespace

TEST(sums_agree_with_integrated_chords) {
    test::for_each_isa([](const std::string&) {
        std::mt19937 random(2);
        std::uniform_real_distribution<double> uniform(0.0, 1.0);
        const std::size_t n_row = 40, n_col = 53;
        std::vector<float> image(n_row * n_col);
        for (float& x : image) {
            x = uniform(random) < 0.03 ? float(missing) : float(100.0 * uniform(random));
        }
        std::vector<double> row, column, radius;
        for (int i = 0; i < 60; ++i) {
            row.push_back(-4.0 + 48.0 * uniform(random));
            column.push_back(-4.0 + 61.0 * uniform(random));
            radius.push_back(0.05 + 7.0 * uniform(random) * uniform(random));
        }
        row.insert(row.end(), {10.0, 10.5, 20.0, 0.0, 39.49});
        column.insert(column.end(), {10.0, 10.5, 20.0, 0.0, 52.49});
        radius.insert(radius.end(), {0.5, 0.5, 3.0, 2.5, 1.0});
        const Sums sums = measure({image.data(), n_row, n_col}, row, column, radius);
        for (std::size_t star = 0; star < row.size(); ++star) {
            const double r = radius[star];
            double total = 0.0, area = 0.0;
            int n_bad = 0;
            for (int i = int(std::floor(row[star] - r)) - 1; i <= row[star] + r + 2; ++i) {
                for (int j = int(std::floor(column[star] - r)) - 1; j <= column[star] + r + 2; ++j) {
                    const double y = i - 0.5 - row[star], x = j - 0.5 - column[star];
                    const double dx = std::max({x, 0.0, -1.0 - x}), dy = std::max({y, 0.0, -1.0 - y});
                    if (dx * dx + dy * dy >= r * r) {
                        continue;
                    }
                    const bool on = i >= 0 && j >= 0 && i < int(n_row) && j < int(n_col);
                    const float value = on ? image[std::size_t(i) * n_col + std::size_t(j)] : float(missing);
                    if (std::isnan(value)) {
                        ++n_bad;
                        continue;
                    }
                    const double part = overlap(x, y, x + 1.0, y + 1.0, r);
                    total += part * value;
                    area += part;
                }
            }
            CHECK(sums.n_bad[star] == n_bad);
            CHECK_CLOSE(sums.area[star], area, 1e-9 * (1.0 + r * r));
            if (area > 1e-6) {
                CHECK_CLOSE(sums.total[star], total, 1e-7 * (1.0 + r * r));
            }
        }
    });
}

TEST(whole_circles_have_the_area_of_a_circle) {
    test::for_each_isa([](const std::string&) {
        const std::size_t size = 300;
        const std::vector<float> image(size * size, 2.0f);
        std::vector<double> row, column, radius;
        for (double r = 0.01; r < 140.0; r *= 1.23) {
            row.push_back(150.0 + 0.37 * std::sin(r));
            column.push_back(150.0 + 0.5 * std::cos(r));
            radius.push_back(r);
        }
        const Sums sums = measure({image.data(), size, size}, row, column, radius);
        for (std::size_t star = 0; star < row.size(); ++star) {
            const double area = pi * radius[star] * radius[star];
            CHECK_CLOSE(sums.area[star], area, 1e-12 * (1.0 + area));
            CHECK_CLOSE(sums.total[star], 2.0 * area, 2e-12 * (1.0 + area));
            CHECK(sums.n_bad[star] == 0);
        }
    });
}

TEST(stars_that_are_nowhere_measure_nothing) {
    test::for_each_isa([](const std::string&) {
        const std::vector<float> image(20 * 20, 1.0f);
        const double infinite = std::numeric_limits<double>::infinity();
        const Sums sums = measure({image.data(), 20, 20}, {missing, 5.0, 5.0, infinite, 1e300, 100.0, -50.0},
                                  {5.0, missing, 5.0, 5.0, 5.0, 5.0, -50.0}, {2.0, 2.0, missing, 2.0, 2.0, 1.4, 0.2});
        for (std::size_t star = 0; star < 7; ++star) {
            CHECK(std::isnan(sums.total[star]));
            CHECK(sums.area[star] == 0.0);
            CHECK(sums.n_bad[star] == (star == 5 ? 9 : star == 6 ? 1 : 0));
        }
    });
}

TEST(no_two_pixels_are_confused) {
    test::for_each_isa([](const std::string&) {
        const std::size_t n_row = 23, n_col = 31, stride = 40; // every pixel its own value, none beyond the row is read
        std::vector<float> image(n_row * stride, float(missing));
        for (std::size_t i = 0; i < n_row; ++i) {
            for (std::size_t j = 0; j < n_col; ++j) {
                image[i * stride + j] = float(1000 * i + j);
            }
        }
        std::vector<double> row, column;
        for (std::size_t i = 0; i < n_row; ++i) {
            for (std::size_t j = 0; j < n_col; ++j) {
                row.push_back(double(i));
                column.push_back(double(j));
            }
        }
        const std::vector<double> radius(row.size(), 0.3);
        const Sums sums = measure({image.data(), n_row, n_col, stride}, row, column, radius);
        for (std::size_t star = 0; star < row.size(); ++star) {
            CHECK_CLOSE(sums.total[star] / sums.area[star], 1000.0 * row[star] + column[star], 1e-9);
            CHECK(sums.n_bad[star] == 0);
        }
    });
}

TEST(all_instruction_sets_give_the_same_bits) {
    std::mt19937 random(8);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    std::vector<float> image(64 * 64);
    for (float& x : image) {
        x = float(uniform(random));
    }
    std::vector<double> row, column, radius;
    for (int i = 0; i < 500; ++i) {
        row.push_back(70.0 * uniform(random) - 3.0);
        column.push_back(70.0 * uniform(random) - 3.0);
        radius.push_back(0.1 + 9.0 * uniform(random));
    }
    std::vector<double> first;
    test::for_each_isa([&](const std::string&) {
        const Sums sums = measure({image.data(), 64, 64}, row, column, radius);
        first = first.empty() ? sums.area : first;
        CHECK(first == sums.area);
    });
}

TEST(wrong_radii_and_sizes_are_refused) {
    std::vector<float> image(100, 1.0f);
    std::vector<double> a(3, 4.0), b(3), c(3);
    std::vector<std::int32_t> n(3);
    const View2<const float> pixels{image.data(), 10, 10};
    for (const double radius : {0.0, -1.0, 5000.0, std::numeric_limits<double>::infinity()}) {
        CHECK_THROWS(std::invalid_argument, "radius[1]", measure(pixels, {1.0, 2.0}, {1.0, 2.0}, {1.0, radius}));
    }
    CHECK_THROWS(std::invalid_argument, "column",
                 aperture_sums(pixels, {a.data(), 3}, {a.data(), 2}, {a.data(), 3}, {b.data(), 3}, {c.data(), 3},
                               {n.data(), 3}));
    CHECK_THROWS(std::invalid_argument, "n_bad",
                 aperture_sums(pixels, {a.data(), 3}, {a.data(), 3}, {a.data(), 3}, {b.data(), 3}, {c.data(), 3},
                               {n.data(), 4}));
    CHECK_THROWS(std::invalid_argument, "image", measure({image.data(), 10, 10, 5}, {1.0}, {1.0}, {1.0}));
    CHECK(measure(pixels, {}, {}, {}).total.empty());
}

TEST(a_surface_is_subtracted_under_the_circles) {
    constexpr std::size_t n_row = 40, n_col = 53;
    std::vector<float> image(n_row * n_col), line(3 * n_col), weight(2 * n_row), less(image.size());
    std::vector<std::int64_t> start(n_row);
    for (std::size_t i = 0; i < image.size(); ++i) {
        image[i] = i % 97 == 5 ? std::nanf("") : 100.0f + float(i * 7919 % 101);
    }
    for (std::size_t i = 0; i < line.size(); ++i) {
        line[i] = 1.0f + float(i * 31 % 17);
    }
    for (std::size_t i = 0; i < n_row; ++i) {
        start[i] = std::int64_t(i % 2);
        weight[i] = 0.3f + 0.01f * float(i);
        weight[n_row + i] = 1.0f - weight[i];
    }
    const Surface surface{{line.data(), 3, n_col}, {start.data(), n_row}, {weight.data(), 2, n_row}};
    subtract_surface({image.data(), n_row, n_col}, surface, {less.data(), n_row, n_col});
    std::vector<double> row, column, radius;
    for (int i = 0; i < 300; ++i) {
        row.push_back(-4.0 + 0.163 * i);
        column.push_back(std::fmod(-3.0 + 17.377 * i, 60.0));
        radius.push_back(0.3 + 0.11 * (i % 60));
    }
    const std::size_t n = row.size();
    std::vector<double> want(n), total(n), want_area(n), area(n);
    std::vector<std::int32_t> want_bad(n), bad(n);
    aperture_sums({less.data(), n_row, n_col}, {row.data(), n}, {column.data(), n}, {radius.data(), n},
                  {want.data(), n}, {want_area.data(), n}, {want_bad.data(), n});
    aperture_sums({image.data(), n_row, n_col}, {row.data(), n}, {column.data(), n}, {radius.data(), n},
                  {total.data(), n}, {area.data(), n}, {bad.data(), n}, surface);
    for (std::size_t i = 0; i < n; ++i) {
        CHECK(total[i] == want[i] || (std::isnan(total[i]) && std::isnan(want[i])));
        CHECK(area[i] == want_area[i]);
        CHECK(bad[i] == want_bad[i]);
    }
    CHECK_THROWS(std::invalid_argument, "start",
                 aperture_sums({image.data(), n_row - 1, n_col}, {row.data(), n}, {column.data(), n},
                               {radius.data(), n}, {total.data(), n}, {area.data(), n}, {bad.data(), n}, surface));
}
