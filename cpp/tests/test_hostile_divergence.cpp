// Contrastive divergence under random calls; see hostile.hpp.
#include <array>
#include <cmath>
#include <cstdint>

#include "check.hpp"
#include "hostile.hpp"
#include "starskope/divergence.hpp"

using namespace starskope;
using test::attack;
using test::Attack;

namespace {

RbmState state_of(Attack& a, std::size_t n_visible, std::size_t n_hidden, std::size_t batch, bool moves) {
    RbmState state;
    state.weights = a.matrix<float>(a.near(n_visible), a.near(n_hidden));
    state.visible_bias = a.vector<float>(a.near(n_visible));
    state.hidden_bias = a.vector<float>(a.near(n_hidden));
    state.visible_offset = a.vector<float>(a.near(n_visible));
    state.hidden_offset = a.vector<float>(a.near(n_hidden));
    if (a.once_in(2)) {
        state.chains = a.matrix<float>(a.near(batch), a.near(n_hidden));
    }
    if (moves) {
        state.weight_velocity = a.matrix<float>(a.near(n_visible), a.near(n_hidden));
        state.visible_velocity = a.vector<float>(a.near(n_visible));
        state.hidden_velocity = a.vector<float>(a.near(n_hidden));
    }
    return state;
}

RbmParameters parameters_of(Attack& a, std::size_t n_visible, std::size_t n_hidden) {
    RbmParameters machine;
    machine.weights = a.matrix<const float>(n_visible, n_hidden);
    machine.visible_bias = a.vector<const float>(a.near(n_visible));
    machine.hidden_bias = a.vector<const float>(a.near(n_hidden));
    machine.visible = a.once_in(2) ? Visible::gaussian : Visible::bernoulli;
    return machine;
}

} // namespace

// learn and store write to memory of the machine and to views of the state: what was refused in `store` must not have
// been written, so each is attacked by itself.
TEST(hostile_contrastive_divergence) {
    const auto play = [](Attack& a, bool stores) {
        const std::size_t n_visible = a.size(), n_hidden = a.size(), n_row = a.size(), batch = 1 + a.below(20);
        const bool moves = a.once_in(2);
        // Of `store`, what it is given is attacked: few machines with wrong settings come as far.
        const auto setting = [&](auto valid) { return stores ? valid : a.setting(valid); };
        RbmTraining training;
        training.visible = a.once_in(2) ? Visible::gaussian : Visible::bernoulli;
        training.precision = a.once_in(2) ? Precision::mixed : Precision::float32;
        training.emulate = a.once_in(2);
        training.centered = a.once_in(2);
        training.k = setting(1 + a.below(3));
        training.k = training.k > 9 && 2 * training.k + 1 <= max_rbm_draws ? 1 : training.k;
        training.batch_size = setting(batch);
        if (training.batch_size > 1000 && training.batch_size <= std::size_t{1} << 31) {
            training.batch_size = 0; // valid, and gigabytes
        }
        training.learning_rate = float(setting(0.01));
        training.momentum = moves ? 0.5f : float(setting(0.0));
        training.weight_decay = float(setting(1e-4));
        training.offset_rate = float(setting(0.01));
        ContrastiveDivergence machine(state_of(a, n_visible, n_hidden, training.batch_size % 64, moves), training);
        if (stores) {
            machine.store(state_of(a, n_visible, n_hidden, training.batch_size % 64, moves));
            return;
        }
        const auto data = a.matrix<const float>(n_row, a.near(n_visible));
        const auto order = a.vector<const std::int64_t>(
            a.size(), [&](std::size_t) { return a.once_in(300) ? 99.0 : double(n_row == 0 ? 0 : a.below(n_row)); });
        machine.learn(data, order, std::uint32_t(a.below(5)), std::uint32_t(a.below(5)));
        machine.finite();
    };
    attack("learn", 500, [&](Attack& a) { play(a, false); });
    attack("store", 500, [&](Attack& a) { play(a, true); });
}

TEST(hostile_inference) {
    attack("hidden_probabilities", 800, [](Attack& a) {
        const std::size_t n_visible = a.size(), n_hidden = a.size(), n_row = a.size();
        const auto machine = parameters_of(a, n_visible, n_hidden);
        const auto data = a.matrix<const float>(n_row, a.near(n_visible));
        hidden_probabilities(machine, data, a.matrix<float>(a.near(n_row), a.near(n_hidden)));
    });
    attack("free_energy", 800, [](Attack& a) {
        const std::size_t n_visible = a.size(), n_hidden = a.size(), n_row = a.size();
        const auto machine = parameters_of(a, n_visible, n_hidden);
        free_energy(machine, a.matrix<const float>(n_row, a.near(n_visible)), a.vector<double>(a.near(n_row)));
    });
    attack("gibbs", 800, [](Attack& a) {
        const std::size_t n_visible = a.size(), n_hidden = a.size(), n_row = a.size();
        const auto machine = parameters_of(a, n_visible, n_hidden);
        const auto data = a.matrix<const float>(n_row, a.near(n_visible));
        std::size_t n_step = a.setting(1 + a.below(3));
        n_step = n_step > 9 && n_step <= 0xffffffff ? 0 : n_step; // valid, and for ever
        gibbs(machine, data, n_step, {1, 2}, 3, a.matrix<float>(a.near(n_row), a.near(n_visible)));
    });
    attack("describe_rows", 800, [](Attack& a) {
        const std::size_t n_visible = a.size(), n_row = a.size();
        describe_rows(a.matrix<const float>(n_row, n_visible), a.vector<double>(a.near(n_visible)));
    });
    attack("first_weights", 800, [](Attack& a) {
        const std::size_t n_visible = a.size(), n_hidden = a.size();
        first_weights(a.once_in(6) ? 0.0f : 0.01f, {1, 2}, 3, a.matrix<float>(n_visible, n_hidden));
    });
}
