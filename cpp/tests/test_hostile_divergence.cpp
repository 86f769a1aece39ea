// What a trained machine says, under random calls; see hostile.hpp.
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

RbmParameters parameters_of(Attack& a, std::size_t n_visible, std::size_t n_hidden) {
    RbmParameters machine;
    machine.weights = a.matrix<const float>(n_visible, n_hidden);
    machine.visible_bias = a.vector<const float>(a.near(n_visible));
    machine.hidden_bias = a.vector<const float>(a.near(n_hidden));
    machine.visible = a.once_in(2) ? Visible::gaussian : Visible::bernoulli;
    return machine;
}

} // namespace

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
}
