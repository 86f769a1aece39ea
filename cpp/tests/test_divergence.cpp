#include "starskope/divergence.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"

using namespace starskope;

namespace {

struct Machine {
    std::size_t n_visible, n_hidden, batch_size;
    std::vector<float> weights, b, c, mu, lambda, chains, w_speed, b_speed, c_speed;

    Machine(std::size_t v, std::size_t h, std::size_t batch, std::uint32_t seed)
        : n_visible(v), n_hidden(h), batch_size(batch), weights(v * h), b(v), c(h), mu(v), lambda(h), chains(batch * h),
          w_speed(v * h), b_speed(v), c_speed(h) {
        std::mt19937 random(seed);
        std::normal_distribution<float> normal(0.0f, 0.3f);
        for (auto* array : {&weights, &b, &c}) {
            std::generate(array->begin(), array->end(), [&] { return normal(random); });
        }
        std::generate(mu.begin(), mu.end(), [&] { return 0.5f + 0.1f * normal(random); });
        std::generate(chains.begin(), chains.end(), [&] { return float(random() % 2); });
    }

    RbmState state(bool persistent, bool moves) {
        RbmState s{.weights = {weights.data(), n_visible, n_hidden},
                   .visible_bias = {b.data(), n_visible},
                   .hidden_bias = {c.data(), n_hidden},
                   .visible_offset = {mu.data(), n_visible},
                   .hidden_offset = {lambda.data(), n_hidden},
                   .chains = {},
                   .weight_velocity = {},
                   .visible_velocity = {},
                   .hidden_velocity = {}};
        if (persistent) {
            s.chains = {chains.data(), batch_size, n_hidden};
        }
        if (moves) {
            s.weight_velocity = {w_speed.data(), n_visible, n_hidden};
            s.visible_velocity = {b_speed.data(), n_visible};
            s.hidden_velocity = {c_speed.data(), n_hidden};
        }
        return s;
    }

    bool operator==(const Machine&) const = default;
};

std::vector<float> rows(std::size_t n_row, std::size_t n_visible, bool gaussian, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.3f, 1.0f);
    std::vector<float> data(n_row * n_visible);
    for (float& x : data) {
        x = gaussian ? normal(random) : random() % 3 == 0 ? float(random() % 256) / 255.0f : 0.0f;
    }
    return data;
}

std::vector<std::int64_t> backwards(std::size_t n) {
    std::vector<std::int64_t> order(n);
    for (std::size_t i = 0; i < n; ++i) {
        order[i] = std::int64_t(n - 1 - i);
    }
    return order;
}

double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

// Largest distance of two machines' parameters.
double distance(const Machine& a, const Machine& other) {
    double most = 0.0;
    for (const auto& [x, y] :
         {std::pair{&a.weights, &other.weights}, std::pair{&a.b, &other.b}, std::pair{&a.c, &other.c}}) {
        for (std::size_t i = 0; i < x->size(); ++i) {
            most = std::max(most, std::fabs(double((*x)[i]) - double((*y)[i])));
        }
    }
    return most;
}

struct Case {
    std::size_t n_visible, n_hidden, n_row, batch_size;
};

// One of everything, and around the sizes of lanes, tiles and pairs.
const std::vector<Case> shapes = {{1, 1, 1, 1},       {2, 1, 3, 1},    {1, 2, 5, 2},     {17, 33, 29, 7},
                                  {64, 16, 20, 16},   {65, 31, 31, 9}, {63, 32, 40, 17}, {130, 70, 45, 33},
                                  {15, 129, 50, 100}, {33, 17, 64, 15}};

Machine trained(const Case& shape, const RbmTraining& training, bool persistent, std::size_t n_helper = 0) {
    Machine machine(shape.n_visible, shape.n_hidden, shape.batch_size, 7);
    const bool moves = training.momentum > 0.0f;
    ContrastiveDivergence learner(machine.state(persistent, moves), training);
    const auto data = rows(shape.n_row, shape.n_visible, training.visible == Visible::gaussian, 3);
    const auto order = backwards(shape.n_row);
    std::vector<std::thread> helpers;
    learner.admit();
    for (std::size_t i = 0; i < n_helper; ++i) {
        helpers.emplace_back([&] { learner.help(); });
    }
    for (std::uint32_t epoch = 0; epoch < 2; ++epoch) {
        learner.learn({data.data(), shape.n_row, shape.n_visible}, {order.data(), order.size()}, epoch, 0);
    }
    learner.release();
    for (auto& helper : helpers) {
        helper.join();
    }
    CHECK(learner.finite());
    learner.store(machine.state(persistent, moves));
    return machine;
}

RbmTraining settings(bool gaussian, bool centered, std::size_t k, std::size_t batch_size) {
    RbmTraining t;
    t.visible = gaussian ? Visible::gaussian : Visible::bernoulli;
    t.centered = centered;
    t.k = k;
    t.batch_size = batch_size;
    t.learning_rate = 0.02f;
    t.momentum = centered ? 0.5f : 0.0f;
    t.weight_decay = 0.01f;
    t.seed = {123, 456};
    return t;
}

} // namespace

TEST(rbm_variants_agree_for_every_shape) {
    for (const Case& shape : shapes) {
        for (const bool gaussian : {false, true}) {
            for (const bool persistent : {false, true}) {
                RbmTraining t = settings(gaussian, !persistent, persistent ? 2 : 1, shape.batch_size);
                for (const Precision precision : {Precision::float32, Precision::mixed}) {
                    t.precision = precision;
                    const Machine first = trained(shape, t, persistent);
                    CHECK(first.weights != Machine(shape.n_visible, shape.n_hidden, shape.batch_size, 7).weights);
                    test::for_each_isa([&](const std::string&) {
                        // Sums are rounded otherwise; in mixed precision a rounding to 8 bits may fall to the other
                        // side.
                        const Machine other = trained(shape, t, persistent);
                        CHECK(distance(first, other) < (precision == Precision::mixed ? 2e-4 : 2e-5));
                    });
                }
            }
        }
    }
}

TEST(rbm_instructions_and_emulation_agree) {
    if (!has_bfloat16()) {
        return;
    }
    for (const Case& shape : shapes) {
        for (const bool gaussian : {false, true}) {
            RbmTraining t = settings(gaussian, true, 1, shape.batch_size);
            t.precision = Precision::mixed;
            const Machine native = trained(shape, t, false);
            t.emulate = true;
            CHECK(distance(native, trained(shape, t, false)) < 2e-4);
        }
    }
}

TEST(rbm_mixed_precision_stays_near_float32) {
    test::for_each_isa([](const std::string&) {
        for (const Case& shape : shapes) {
            RbmTraining t = settings(true, true, 1, shape.batch_size);
            const Machine single = trained(shape, t, false);
            t.precision = Precision::mixed;
            const Machine mixed = trained(shape, t, false);
            const double apart = distance(single, mixed);
            CHECK(apart > 0.0 && apart < 0.2); // a hidden state drawn otherwise moves a whole row
        }
    });
}

TEST(rbm_helpers_change_no_byte) {
    test::for_each_isa([](const std::string&) {
        const Case shape{200, 150, 90, 32};
        for (const Precision precision : {Precision::float32, Precision::mixed}) {
            for (const bool persistent : {false, true}) {
                RbmTraining t = settings(false, true, 2, shape.batch_size);
                t.precision = precision;
                const Machine alone = trained(shape, t, persistent);
                for (const std::size_t n_helper : {1, 3}) {
                    CHECK(trained(shape, t, persistent, n_helper) == alone);
                }
            }
        }
    });
}

TEST(rbm_of_no_weights_follows_the_means) {
    // With weights of zero hidden units are fair coins apart from their bias: the gradient of the plain biases is
    // known.
    test::for_each_isa([](const std::string&) {
        const Case shape{40, 20, 30, 30};
        RbmTraining t = settings(false, false, 1, shape.batch_size);
        t.weight_decay = 0.0f;
        Machine machine(shape.n_visible, shape.n_hidden, shape.batch_size, 7);
        std::fill(machine.weights.begin(), machine.weights.end(), 0.0f);
        std::fill(machine.b.begin(), machine.b.end(), -200.0f); // no visible unit is ever drawn
        ContrastiveDivergence learner(machine.state(false, false), t);
        const auto data = rows(shape.n_row, shape.n_visible, false, 3);
        const auto order = backwards(shape.n_row);
        learner.learn({data.data(), shape.n_row, shape.n_visible}, {order.data(), order.size()}, 0, 0);
        const std::vector<float> c = machine.c;
        learner.store(machine.state(false, false));
        for (std::size_t v = 0; v < shape.n_visible; ++v) {
            double mean = 0.0;
            for (std::size_t i = 0; i < shape.n_row; ++i) {
                mean += double(data[i * shape.n_visible + v]) / double(shape.n_row);
            }
            CHECK_CLOSE(machine.b[v], -200.0 + 0.02 * mean, 2e-5);
            for (std::size_t h = 0; h < shape.n_hidden; ++h) {
                CHECK_CLOSE(machine.weights[v * shape.n_hidden + h], 0.02 * mean * sigmoid(double(c[h])), 1e-7);
            }
        }
        for (std::size_t h = 0; h < shape.n_hidden; ++h) {
            CHECK_CLOSE(machine.c[h], c[h], 1e-8);
        }
    });
}

TEST(rbm_inference_agrees_with_the_slow_way) {
    test::for_each_isa([](const std::string&) {
        for (const Case& shape : shapes) {
            for (const bool gaussian : {false, true}) {
                Machine m(shape.n_visible, shape.n_hidden, 1, 5);
                const std::size_t n_row = shape.n_row + 100;
                const auto data = rows(n_row, shape.n_visible, gaussian, 9);
                const RbmParameters machine{{m.weights.data(), m.n_visible, m.n_hidden},
                                            {m.b.data(), m.n_visible},
                                            {m.c.data(), m.n_hidden},
                                            gaussian ? Visible::gaussian : Visible::bernoulli};
                const View2<const float> x{data.data(), n_row, shape.n_visible};
                std::vector<float> hidden(n_row * shape.n_hidden), visible(data.size());
                std::vector<double> energy(n_row);
                hidden_probabilities(machine, x, {hidden.data(), n_row, shape.n_hidden});
                free_energy(machine, x, {energy.data(), n_row});
                gibbs(machine, x, 2, {1, 2}, 0, {visible.data(), n_row, shape.n_visible});
                std::vector<float> last(shape.n_visible);
                gibbs(machine, {data.data() + (n_row - 1) * shape.n_visible, 1, shape.n_visible}, 2, {1, 2},
                      std::uint32_t(n_row - 1), {last.data(), 1, shape.n_visible});
                CHECK(std::equal(last.begin(), last.end(), visible.end() - std::ptrdiff_t(shape.n_visible)));
                for (std::size_t i = 0; i < n_row; ++i) {
                    double expected = 0.0;
                    for (std::size_t v = 0; v < shape.n_visible; ++v) {
                        const double value = double(data[i * shape.n_visible + v]), bias = double(m.b[v]);
                        expected += gaussian ? 0.5 * (value - bias) * (value - bias) : -value * bias;
                        CHECK(gaussian || visible[i * shape.n_visible + v] == 0.0f ||
                              visible[i * shape.n_visible + v] == 1.0f);
                    }
                    for (std::size_t h = 0; h < shape.n_hidden; ++h) {
                        double sum = double(m.c[h]);
                        for (std::size_t v = 0; v < shape.n_visible; ++v) {
                            sum += double(data[i * shape.n_visible + v]) * double(m.weights[v * shape.n_hidden + h]);
                        }
                        CHECK_CLOSE(hidden[i * shape.n_hidden + h], sigmoid(sum), 1e-6);
                        expected -= std::log1p(std::exp(-std::fabs(sum))) + std::max(sum, 0.0);
                    }
                    CHECK_CLOSE(energy[i], expected, 2e-6 * (10.0 + std::fabs(expected) + double(shape.n_hidden)));
                }
            }
        }
    });
}

TEST(rbm_rows_without_values_may_point_nowhere) {
    test::for_each_isa([](const std::string&) {
        for (const auto& [n_row, n_col] : {std::pair<std::size_t, std::size_t>{40, 0}, {0, 3}, {0, 0}}) {
            const std::size_t stride = std::size_t(-1) / 2; // a step of it from null shows under sanitizers
            std::vector<double> sums(n_col, -1.0);
            const ValueRange range = describe_rows({nullptr, n_row, n_col, stride}, {sums.data(), n_col});
            CHECK(range.low == std::numeric_limits<float>::infinity() && range.high == -range.low);
            CHECK(sums == std::vector<double>(n_col, 0.0));
            first_weights(0.01f, {1, 2}, 3, {nullptr, n_row, n_col, stride});
        }
    });
}

TEST(rbm_random_sizes_stay_inside) {
    // For the sanitizers: whatever the sizes and settings, nothing is read or written outside.
    std::mt19937 random(17);
    test::for_each_isa([&](const std::string&) {
        for (int trial = 0; trial < 40; ++trial) {
            const Case shape{1 + random() % 90, 1 + random() % 90, 1 + random() % 60, 1 + random() % 40};
            RbmTraining t = settings(random() % 2 == 0, random() % 2 == 0, 1 + random() % 3, shape.batch_size);
            t.precision = random() % 2 == 0 ? Precision::mixed : Precision::float32;
            t.emulate = random() % 2 == 0;
            t.learning_rate = 1e-3f;
            trained(shape, t, random() % 2 == 0, random() % 2);
        }
    });
}

TEST(rbm_of_data_that_are_no_numbers_ends_and_says_so) {
    test::for_each_isa([](const std::string&) {
        for (const Precision precision : {Precision::float32, Precision::mixed}) {
            Machine machine(20, 10, 4, 1);
            RbmTraining t = settings(true, true, 1, 4);
            t.momentum = 0.0f;
            t.precision = precision;
            ContrastiveDivergence learner(machine.state(false, false), t);
            std::vector<float> data(8 * 20, std::numeric_limits<float>::quiet_NaN());
            data[3] = std::numeric_limits<float>::infinity();
            data[25] = std::numeric_limits<float>::max();
            const auto order = backwards(8);
            learner.learn({data.data(), 8, 20}, {order.data(), 8}, 0, 0);
            CHECK(!learner.finite());
        }
    });
}

TEST(rbm_wrong_shapes_and_settings_are_refused) {
    Machine m(6, 5, 4, 1);
    const RbmTraining good = settings(false, false, 1, 4);
    const auto build = [&](const RbmState& state, const RbmTraining& t) { ContrastiveDivergence learner(state, t); };
    build(m.state(true, true), good);
    RbmState bad = m.state(false, false);
    bad.visible_bias.size = 5;
    CHECK_THROWS(std::invalid_argument, "visible_bias", build(bad, good));
    bad = m.state(false, false);
    bad.weights.data = nullptr;
    CHECK_THROWS(std::invalid_argument, "weights", build(bad, good));
    bad = m.state(false, false);
    bad.weights.n_col = 0;
    CHECK_THROWS(std::invalid_argument, "n_hidden=0", build(bad, good));
    bad = m.state(false, false);
    bad.weights.stride = 4;
    CHECK_THROWS(std::invalid_argument, "weights", build(bad, good));
    bad = m.state(true, false);
    bad.chains.n_row = 3;
    CHECK_THROWS(std::invalid_argument, "chains: is 3 x 5, expected 4 x 5", build(bad, good));
    bad = m.state(false, true);
    bad.hidden_velocity = {};
    CHECK_THROWS(std::invalid_argument, "velocities", build(bad, good));
    const auto wrong = [&](auto change, const char* part) {
        RbmTraining t = good;
        change(t);
        CHECK_THROWS(std::invalid_argument, part, build(m.state(false, false), t));
    };
    wrong([](RbmTraining& t) { t.batch_size = 0; }, "batch_size=0");
    wrong([](RbmTraining& t) { t.k = 0; }, "k=0");
    wrong([](RbmTraining& t) { t.k = 2048; }, "k=2048");
    wrong([](RbmTraining& t) { t.learning_rate = std::numeric_limits<float>::quiet_NaN(); }, "learning_rate");
    wrong([](RbmTraining& t) { t.momentum = 1.0f; }, "momentum");
    wrong([](RbmTraining& t) { t.momentum = 0.5f; }, "momentum: needs velocities");
    wrong([](RbmTraining& t) { t.weight_decay = -1.0f; }, "weight_decay");
    wrong([](RbmTraining& t) { t.offset_rate = 2.0f; }, "offset_rate");

    ContrastiveDivergence learner(m.state(false, false), good);
    const std::vector<float> data(60);
    std::vector<std::int64_t> order{0, 9, 3};
    learner.learn({data.data(), 10, 6}, {order.data(), 3}, 0, 0);
    learner.learn({data.data(), 10, 6}, {}, 0, 0);
    CHECK_THROWS(std::invalid_argument, "data: has 5 columns, expected 6",
                 learner.learn({data.data(), 10, 5}, {order.data(), 3}, 0, 0));
    order[1] = 10;
    CHECK_THROWS(std::invalid_argument, "order: element 1 is 10, data has 10 rows",
                 learner.learn({data.data(), 10, 6}, {order.data(), 3}, 0, 0));
    order[1] = -1;
    CHECK_THROWS(std::invalid_argument, "order: element 1 is -1",
                 learner.learn({data.data(), 10, 6}, {order.data(), 3}, 0, 0));
    CHECK_THROWS(std::invalid_argument, "order: null", learner.learn({data.data(), 10, 6}, {nullptr, 3}, 0, 0));
    CHECK_THROWS(std::invalid_argument, "chains", learner.store(m.state(true, false)));
    CHECK_THROWS(std::invalid_argument, "velocities", learner.store(m.state(false, true)));
    Machine other(7, 5, 4, 1);
    CHECK_THROWS(std::invalid_argument, "weights: is 7 x 5, expected 6 x 5", learner.store(other.state(false, false)));

    const RbmParameters machine{{m.weights.data(), 6, 5}, {m.b.data(), 6}, {m.c.data(), 5}, Visible::bernoulli};
    std::vector<float> out(60);
    std::vector<double> energy(10);
    CHECK_THROWS(std::invalid_argument, "out: is 10 x 6, expected 10 x 5",
                 hidden_probabilities(machine, {data.data(), 10, 6}, {out.data(), 10, 6}));
    CHECK_THROWS(std::invalid_argument, "data: has 5 columns",
                 hidden_probabilities(machine, {data.data(), 10, 5}, {out.data(), 10, 5}));
    CHECK_THROWS(std::invalid_argument, "out: has 9", free_energy(machine, {data.data(), 10, 6}, {energy.data(), 9}));
    CHECK_THROWS(std::invalid_argument, "n_step=0",
                 gibbs(machine, {data.data(), 10, 6}, 0, {1, 2}, 0, {out.data(), 10, 6}));
}
