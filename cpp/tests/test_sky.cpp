#include "starskope/sky.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"

using namespace starskope;

namespace {

constexpr float missing = std::numeric_limits<float>::quiet_NaN();

struct Level {
    float median;
    std::int32_t count;
};

// The obvious way: sort, clip, begin again.
Level clipped(std::vector<float> values, double sigma) {
    std::erase_if(values, [](float v) { return !std::isfinite(v); });
    std::sort(values.begin(), values.end());
    while (!values.empty()) {
        const std::size_t n = values.size();
        const float median = float(0.5 * (double(values[(n - 1) / 2]) + double(values[n / 2])));
        double mean = 0.0, variance = 0.0;
        for (const float v : values) {
            mean += double(v) / double(n);
        }
        for (const float v : values) {
            variance += (double(v) - mean) * (double(v) - mean) / double(n);
        }
        const double reach = sigma * std::sqrt(variance);
        std::erase_if(values, [&](float v) { return std::fabs(double(v) - double(median)) > reach; });
        if (values.size() == n) {
            return {median, std::int32_t(n)};
        }
    }
    return {missing, 0};
}

std::vector<float> noise(std::size_t n, int kind, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(10.0f, 2.0f);
    std::cauchy_distribution<float> wild(0.0f, 1e3f);
    std::vector<float> values(n);
    for (std::size_t i = 0; i < n; ++i) {
        values[i] = kind == 2 ? std::round(normal(random)) : kind == 3 ? wild(random) : normal(random);
        if (kind == 1 && random() % 5 == 0) {
            values[i] = random() % 2 == 0 ? missing : 1e6f;
        }
        if (kind == 4) {
            values[i] = random() % 3 == 0 ? -std::numeric_limits<float>::max() : std::numeric_limits<float>::max();
        }
        if (kind == 5) {
            values[i] = -0.0f;
        }
        if (kind == 6) {
            values[i] = std::numeric_limits<float>::infinity();
        }
        if (kind == 7 && random() % 7 == 0) { // stars, of which most are too faint to be told from the sky
            values[i] += 2.0f * std::pow(1e-6f + float(random() % 1000000) * 1e-6f, -1.2f);
        }
        if (kind == 8) { // squares that float32 cannot hold
            values[i] = (values[i] - 10.0f) * (i % 2 == 0 ? 1e-30f : 1.1e-30f);
        }
        if (kind == 9) {
            values[i] = float(random() % 1000);
        }
        if (kind == 10) { // most of it far below, so that the first guess is wrong
            values[i] = random() % 20 < 11 ? values[i] : values[i] - 1e4f * float(random() % 100);
        }
        if (kind == 11) { // a slope, sampled along it
            values[i] += 1e-3f * float(i);
        }
    }
    return values;
}

bool same(float a, float b) {
    return a == b || (std::isnan(a) && std::isnan(b));
}

} // namespace

TEST(boxes_of_any_size_and_content_have_the_clipped_median_of_their_pixels) {
    for (int kind = 0; kind < 12; ++kind) {
        for (const std::size_t n_row : {1u, 2u, 5u, 17u, 64u}) {
            for (const std::size_t n_col : {1u, 3u, 16u, 31u, 65u, 130u}) {
                const auto image = noise(n_row * n_col, kind, unsigned(n_row * 100 + n_col));
                const std::vector<std::int64_t> rows{0, std::int64_t(n_row) / 2, std::int64_t(n_row)};
                const std::vector<std::int64_t> columns{0, std::int64_t(n_col)};
                std::vector<float> median(2, -7.0f);
                std::vector<std::int32_t> count(2, -7);
                box_medians({image.data(), n_row, n_col}, {rows.data(), 3}, {columns.data(), 2}, {}, 3.0,
                            {median.data(), 2, 1}, {count.data(), 2, 1});
                for (std::size_t i = 0; i < 2; ++i) {
                    const Level want = clipped({image.begin() + rows[i] * std::int64_t(n_col),
                                                image.begin() + rows[i + 1] * std::int64_t(n_col)},
                                               3.0);
                    CHECK(same(median[i], want.median));
                    CHECK(count[i] == want.count);
                }
            }
        }
    }
}

TEST(rings_hold_the_pixels_at_their_distance_and_on_the_image) {
    constexpr std::size_t n_row = 41, n_col = 37;
    for (int kind = 0; kind < 12; ++kind) {
        const auto image = noise(n_row * n_col, kind, 5);
        for (const double outer : {0.5, 1.0, 4.3, 9.0, 60.0}) {
            const double inner = outer > 4.0 ? outer / 2 : 0.0;
            std::vector<std::int64_t> row, column;
            for (std::int64_t y = -70; y < 120; y += 7) {
                row.push_back(y);
                column.push_back((y * 5) % 61 - 12);
            }
            const std::size_t n = row.size();
            std::vector<float> median(n, -7.0f);
            std::vector<std::int32_t> count(n, -7);
            // Every third star has a wider ring, every fifth one without a hole.
            std::vector<double> from(n, inner);
            for (std::size_t i = 0; i < n; ++i) {
                from[i] = i % 5 == 4 ? 0.0 : i % 3 == 2 ? inner + 2.5 : inner;
            }
            const double width = outer - inner;
            ring_medians({image.data(), n_row, n_col}, {row.data(), n}, {column.data(), n}, {from.data(), n}, width,
                         3.0, {median.data(), n}, {count.data(), n});
            for (std::size_t i = 0; i < n; ++i) {
                std::vector<float> pixels;
                for (std::int64_t y = 0; y < std::int64_t(n_row); ++y) {
                    for (std::int64_t x = 0; x < std::int64_t(n_col); ++x) {
                        const double distance =
                            std::sqrt(double((y - row[i]) * (y - row[i]) + (x - column[i]) * (x - column[i])));
                        if (distance >= from[i] && distance < from[i] + width) {
                            pixels.push_back(image[std::size_t(y) * n_col + std::size_t(x)]);
                        }
                    }
                }
                const Level want = clipped(pixels, 3.0);
                CHECK(same(median[i], want.median));
                CHECK(count[i] == want.count);
            }
        }
    }
}

TEST(a_surface_is_subtracted_in_place_or_alone) {
    constexpr std::size_t n_row = 9, n_col = 35;
    const auto image = noise(n_row * n_col, 0, 1), line = noise(6 * n_col, 0, 2);
    for (std::size_t n_tap = 1; n_tap <= 4; ++n_tap) {
        const auto weight = noise(n_tap * n_row, 0, 3);
        std::vector<std::int64_t> start(n_row);
        for (std::size_t r = 0; r < n_row; ++r) {
            start[r] = std::int64_t(r % (7 - n_tap));
        }
        const Surface surface{{line.data(), 6, n_col}, {start.data(), n_row}, {weight.data(), n_tap, n_row}};
        std::vector<float> out = image, alone(image.size());
        subtract_surface({out.data(), n_row, n_col}, surface, {out.data(), n_row, n_col});
        subtract_surface({}, surface, {alone.data(), n_row, n_col});
        for (std::size_t i = 0; i < out.size(); ++i) {
            const std::size_t r = i / n_col;
            double want = 0.0;
            for (std::size_t k = 0; k < n_tap; ++k) {
                want += double(weight[k * n_row + r]) * double(line[(std::size_t(start[r]) + k) * n_col + i % n_col]);
            }
            CHECK(std::fabs(double(alone[i]) - want) < 1e-4 * (1.0 + std::fabs(want)));
            CHECK(out[i] == image[i] - alone[i]);
        }
    }
}

TEST(lines_are_made_of_knots_and_values_of_lines) {
    constexpr std::size_t n_line = 5, n_knot = 7, n_row = 11, n_col = 33;
    const auto knot = noise(n_line * n_knot, 0, 1);
    for (std::size_t n_tap = 1; n_tap <= 4; ++n_tap) {
        const auto across = noise(n_tap * n_col, 0, 2), down = noise(n_tap * n_row, 0, 3);
        std::vector<std::int64_t> start(n_col), from(n_row);
        for (std::size_t j = 0; j < n_col; ++j) {
            start[j] = std::int64_t(j % (n_knot + 1 - n_tap));
        }
        for (std::size_t i = 0; i < n_row; ++i) {
            from[i] = std::int64_t(i % (n_line + 1 - n_tap));
        }
        std::vector<float> line(n_line * n_col), plane(n_row * n_col);
        surface_lines({knot.data(), n_line, n_knot}, {start.data(), n_col}, {across.data(), n_tap, n_col},
                      {line.data(), n_line, n_col});
        for (std::size_t k = 0; k < line.size(); ++k) {
            double want = 0.0;
            for (std::size_t tap = 0; tap < n_tap; ++tap) {
                want += double(across[tap * n_col + k % n_col]) *
                        double(knot[k / n_col * n_knot + std::size_t(start[k % n_col]) + tap]);
            }
            CHECK(std::fabs(double(line[k]) - want) < 1e-5 * std::fabs(want));
        }
        const Surface surface{{line.data(), n_line, n_col}, {from.data(), n_row}, {down.data(), n_tap, n_row}};
        subtract_surface({}, surface, {plane.data(), n_row, n_col});
        const std::vector<double> row{0.4, 10.4, 3.6, -0.6, 10.6, 5.0, std::nan(""), 1e300, 2.0, -0.4};
        const std::vector<double> column{0.0, 32.4, 7.2, 3.0, 3.0, -0.6, 4.0, 4.0, 32.6, -0.3};
        std::vector<double> value(row.size(), -7.0);
        surface_values(surface, {row.data(), row.size()}, {column.data(), row.size()}, {value.data(), row.size()});
        CHECK(value[0] == double(plane[0]));
        CHECK(value[1] == double(plane[10 * n_col + 32]));
        CHECK(value[2] == double(plane[4 * n_col + 7]));
        CHECK(value[9] == double(plane[0]));
        for (std::size_t k = 3; k < 9; ++k) {
            CHECK(std::isnan(value[k]));
        }
    }
}

TEST(what_does_not_fit_is_refused) {
    std::vector<float> image(20, 1.0f), median(4), line(20), weight(4);
    std::vector<std::int32_t> count(4);
    std::vector<std::int64_t> edges{0, 2, 4}, past{0, 2, 5}, falling{0, 3, 2}, negative{-1, 2, 4}, start{0, 0, 0, 2};
    const View2<const float> pixels{image.data(), 4, 5};
    const View2<float> medians{median.data(), 2, 2};
    const View2<std::int32_t> counts{count.data(), 2, 2};
    const auto boxes = [&](const std::vector<std::int64_t>& rows, double sigma, const Surface& surface) {
        box_medians(pixels, {rows.data(), rows.size()}, {edges.data(), 3}, surface, sigma, medians, counts);
    };
    boxes(edges, 3.0, {});
    for (const auto& rows : {past, falling, negative, std::vector<std::int64_t>{0, 4}}) {
        CHECK_THROWS(std::invalid_argument, "expected", boxes(rows, 3.0, {}));
    }
    CHECK_THROWS(std::invalid_argument, "expected", boxes(edges, 0.0, {}));
    CHECK_THROWS(std::invalid_argument, "expected", boxes(edges, std::nan(""), {}));
    const Surface good{{line.data(), 2, 5}, {edges.data(), 3}, {weight.data(), 1, 4}};
    CHECK_THROWS(std::invalid_argument, "expected", boxes(edges, 3.0, good)); // starts for 3 of 4 rows
    CHECK_THROWS(std::invalid_argument, "expected",
                 boxes(edges, 3.0, {{line.data(), 2, 5}, {start.data(), 4}, {weight.data(), 1, 4}})); // past the lines
    CHECK_THROWS(std::invalid_argument, "expected",
                 boxes(edges, 3.0, {{line.data(), 4, 5}, {start.data(), 4}, {weight.data(), 1, 3}}));
    CHECK_THROWS(std::invalid_argument, "expected",
                 boxes(edges, 3.0, {{line.data(), 4, 4}, {start.data(), 4}, {weight.data(), 1, 4}}));
    const auto rings = [&](std::int64_t place, double inner, double width) {
        ring_medians(pixels, {&place, 1}, {&place, 1}, {&inner, 1}, width, 3.0, {median.data(), 1}, {count.data(), 1});
    };
    rings(2, 0.0, 2.0);
    CHECK_THROWS(std::invalid_argument, "expected", rings(2, 2.0, 0.0));
    CHECK_THROWS(std::invalid_argument, "expected", rings(2, 4095.0, 2.0));
    CHECK_THROWS(std::invalid_argument, "expected", rings(2, std::nan(""), 2.0));
    CHECK_THROWS(std::invalid_argument, "inner",
                 ring_medians(pixels, {start.data(), 1}, {start.data(), 1}, {}, 2.0, 3.0, {median.data(), 1},
                              {count.data(), 1}));
    CHECK_THROWS(std::invalid_argument, "expected", rings(2, -1.0, 2.0));
    CHECK_THROWS(std::invalid_argument, "expected", rings(2, 0.0, std::nan("")));
    CHECK_THROWS(std::invalid_argument, "expected", rings(2, 0.0, 1e6));
    CHECK_THROWS(std::invalid_argument, "expected", rings(std::int64_t{1} << 40, 0.0, 2.0));
    CHECK_THROWS(std::invalid_argument, "expected", subtract_surface(pixels, good, {image.data(), 4, 5}));
    const auto lines = [&](const std::vector<std::int64_t>& starts, std::size_t n_knot) {
        surface_lines({image.data(), 4, n_knot}, {starts.data(), starts.size()}, {weight.data(), 1, 4},
                      {line.data(), 4, 4});
    };
    lines({0, 1, 2, 4}, 5);
    CHECK_THROWS(std::invalid_argument, "neighbours", lines({0, 1, 2, 5}, 5));
    CHECK_THROWS(std::invalid_argument, "neighbours", lines({0, 1, -1, 4}, 5));
    CHECK_THROWS(std::invalid_argument, "start", lines({0, 1, 2}, 5));
    CHECK_THROWS(std::invalid_argument, "knot",
                 surface_lines({image.data(), 3, 5}, {edges.data(), 3}, {weight.data(), 1, 3}, {line.data(), 4, 3}));
    std::vector<double> place(3), value(3);
    CHECK_THROWS(std::invalid_argument, "column",
                 surface_values(good, {place.data(), 3}, {place.data(), 2}, {value.data(), 3}));
    CHECK_THROWS(std::invalid_argument, "value",
                 surface_values(good, {place.data(), 3}, {place.data(), 3}, {value.data(), 2}));
}
