#include "starskope/stack.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.hpp"
#include "stack_oracle.hpp"

using namespace starskope;
using namespace starskope::test;

TEST(rows_at_odd_addresses_in_either_byte_order_give_the_same_bytes) {
    test::for_each_isa([](const std::string&) {
        for (const std::size_t n_time : {1, 2, 33, 128, 257, 700}) {
            const std::size_t n_series = 45;
            const auto data = noise(n_time, n_series, 17);
            // Every row in memory of its own, exactly as long as it needs: reading past it is seen by the sanitizer.
            std::vector<std::vector<unsigned char>> memory(n_time);
            std::vector<const unsigned char*> rows(n_time);
            std::vector<std::uint8_t> mask(n_time * n_series, 0);
            std::vector<float> weight(n_time * n_series, 1.0f);
            for (std::size_t t = 0; t < n_time; ++t) {
                memory[t].resize(1 + 4 * n_series);
                for (std::size_t i = 0; i < n_series; ++i) {
                    unsigned char bytes[4];
                    std::memcpy(bytes, &data[t * n_series + i], 4);
                    for (std::size_t b = 0; b < 4; ++b) {
                        memory[t][1 + 4 * i + b] = std::endian::native == std::endian::little ? bytes[3 - b] : bytes[b];
                    }
                }
                rows[t] = memory[t].data() + 1;
            }
            for (const int max_iters : {0, 5}) {
                const Clip clip{3.0, 3.0, max_iters};
                Result expected(n_series), swapped(n_series), with_all(n_series);
                std::vector<std::uint8_t> rejected(n_time * n_series, 9);
                Frames frames{.rows = {rows.data(), n_time}, .n_series = n_series, .order = ByteOrder::big};
                series_statistics({data.data(), n_time, n_series}, clip, expected.views());
                series_statistics(frames, clip, swapped.views());
                frames.mask = {mask.data(), n_time, n_series};
                frames.weight = {weight.data(), n_time, n_series};
                SeriesStatistics out = with_all.views();
                out.rejected = {rejected.data(), n_time, n_series};
                series_statistics(frames, clip, out);
                CHECK(swapped.mean == expected.mean && swapped.std == expected.std);
                CHECK(swapped.median == expected.median && swapped.count == expected.count);
                CHECK(with_all.median == expected.median && with_all.count == expected.count);
                for (std::size_t i = 0; i < n_series; ++i) {
                    CHECK_CLOSE(with_all.mean[i], expected.mean[i], 1e-7 * 500.0);
                    std::int32_t n = expected.count[i];
                    for (std::size_t t = 0; t < n_time; ++t) {
                        n += rejected[t * n_series + i] - std::isfinite(data[t * n_series + i]);
                    }
                    CHECK(n == 0);
                }
            }
        }
    });
}

TEST(moments_of_blocks_merge_to_those_of_all) {
    test::for_each_isa([](const std::string&) {
        for (const std::size_t n_series : {1, 15, 17, 512, 600}) {
            const std::size_t n_time = 50;
            const auto data = noise(n_time, n_series, 4);
            struct State {
                std::vector<double> count, mean, squares;
                explicit State(std::size_t n) : count(n), mean(n), squares(n) {}
                SeriesMoments views() {
                    const std::size_t n = count.size();
                    return {{count.data(), n}, {mean.data(), n}, {squares.data(), n}};
                }
            };
            State whole(n_series), merged(n_series);
            for (std::size_t first = 0; first < n_time; first += 12) {
                State part(n_series);
                std::vector<const unsigned char*> rows;
                for (std::size_t t = first; t < std::min(first + 12, n_time); ++t) {
                    rows.push_back(reinterpret_cast<const unsigned char*>(&data[t * n_series]));
                }
                const Frames frames{.rows = {rows.data(), rows.size()}, .n_series = n_series};
                add_frames(frames, whole.views());
                add_frames(frames, part.views());
                merge_moments(merged.views(), part.views());
            }
            Result expected(n_series);
            series_statistics({data.data(), n_time, n_series}, {3.0, 3.0, 0, Center::mean}, expected.views());
            for (std::size_t i = 0; i < n_series; ++i) {
                for (State* state : {&whole, &merged}) {
                    CHECK(state->count[i] == expected.count[i]);
                    CHECK_CLOSE(state->mean[i], expected.mean[i], 1e-7 * 500.0);
                    CHECK_CLOSE(std::sqrt(state->squares[i] / state->count[i]), expected.std[i],
                                1e-6 * expected.std[i]);
                }
            }
        }
    });
}

TEST(the_mad_is_a_median_of_deviations) {
    test::for_each_isa([](const std::string&) {
        for (std::size_t n_time = 1; n_time < 40; ++n_time) {
            auto values = noise(n_time, 1, std::uint32_t(n_time));
            std::erase_if(values, [](float x) { return !std::isfinite(x); });
            std::vector<double> sorted(values.begin(), values.end()), far;
            const auto median = [](std::vector<double> x) {
                std::sort(x.begin(), x.end());
                return x.empty() ? 0.0 : 0.5 * (x[(x.size() - 1) / 2] + x[x.size() / 2]);
            };
            const double middle = median(sorted);
            for (const double x : sorted) {
                far.push_back(std::fabs(x - middle));
            }
            const double limit = 2.0 * 1.482602218505602 * median(far);
            const auto kept = std::count_if(far.begin(), far.end(), [&](double d) { return d <= limit; });
            Result result(1);
            series_statistics({values.data(), values.size(), 1}, {2.0, 2.0, 1, Center::median, Scale::mad},
                              result.views());
            CHECK(result.count[0] == kept);
        }
    });
}

TEST(rows_that_do_not_fit_are_refused) {
    std::vector<float> data(30), out(10);
    std::vector<std::uint8_t> mask(30);
    std::vector<double> moment(10);
    const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
    std::vector<const unsigned char*> rows{bytes, bytes + 40, bytes + 80};
    const SeriesStatistics good{.mean = {out.data(), 10}};
    const Frames frames{.rows = {rows.data(), 3}, .n_series = 10};
    const SeriesMoments moments{{moment.data(), 10}, {moment.data(), 10}, {moment.data(), 9}};
    series_statistics(frames, {}, good);
    Frames bad = frames;
    bad.mask = {mask.data(), 2, 10};
    CHECK_THROWS(std::invalid_argument, "mask: is 2 x 10, expected 3 x 10", series_statistics(bad, {}, good));
    bad = frames;
    bad.frame_weight = {data.data(), 4};
    CHECK_THROWS(std::invalid_argument, "frame_weight", series_statistics(bad, {}, good));
    bad.frame_weight = {data.data(), 3};
    CHECK_THROWS(std::invalid_argument, "weights", add_frames(bad, moments));
    bad = frames;
    bad.weight = {data.data(), 3, 9};
    CHECK_THROWS(std::invalid_argument, "weight", series_statistics(bad, {}, good));
    bad = frames;
    bad.rows = {nullptr, 3};
    CHECK_THROWS(std::invalid_argument, "null", series_statistics(bad, {}, good));
    rows[1] = nullptr;
    CHECK_THROWS(std::invalid_argument, "row 1", series_statistics(frames, {}, good));
    rows[1] = bytes;
    CHECK_THROWS(std::invalid_argument, "squares", add_frames(frames, moments));
    SeriesStatistics wrong = good;
    wrong.rejected = {mask.data(), 3, 9};
    CHECK_THROWS(std::invalid_argument, "rejected", series_statistics(frames, {}, wrong));
}
