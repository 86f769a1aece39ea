// The box search under random calls; see hostile.hpp.
#include <cmath>
#include <cstdint>

#include "check.hpp"
#include "hostile.hpp"
#include "starskope/box.hpp"

using namespace starskope;
using test::attack;
using test::Attack;

namespace {

struct BoxStarsGiven {
    View1<const double> time;
    View2<const float> flux, error;
};

BoxStarsGiven box_stars(Attack& a, std::size_t n_time, std::size_t n_star) {
    double now = a.number();
    BoxStarsGiven given;
    given.time = a.vector<const double>(a.near(n_time), [&](std::size_t) {
        return a.once_in(500) ? a.number() : (now = (std::isfinite(now) ? now : 0.0) + 0.02);
    });
    given.flux = a.matrix<const float>(n_time, n_star);
    if (a.once_in(4)) { // a negative error refuses the call, and there is one in most
        given.error = a.matrix<const float>(a.near(a.once_in(2) ? 1 : n_time), a.near(a.once_in(2) ? 1 : n_star));
    }
    return given;
}

BoxTrials box_trials(Attack& a, std::size_t n_period) {
    const std::size_t n_duration = 1 + a.below(4), last = n_duration + a.once_in(40);
    BoxTrials trials;
    trials.period = a.vector<const double>(
        n_period, [&](std::size_t) { return a.once_in(500) ? a.number() : 0.5 + 0.1 * double(a.below(50)); });
    trials.duration = a.vector<const double>(
        n_duration, [&](std::size_t k) { return a.once_in(60) ? a.number() : 0.05 * double(k + 1); });
    trials.oversample = a.once_in(12) ? int(a.below(5)) - 2 : 3;
    trials.first = a.vector<const std::int32_t>(a.near(n_period),
                                                [&](std::size_t) { return double(a.once_in(500) ? a.below(99) : 0); });
    trials.last = a.vector<const std::int32_t>(a.near(n_period), [&](std::size_t) { return double(last); });
    trials.objective = a.once_in(2) ? BoxObjective::snr : BoxObjective::likelihood;
    return trials;
}

} // namespace

TEST(hostile_box_scan) {
    attack("box_scan", 400, [](Attack& a) {
        const std::size_t n_star = a.size(), n_period = a.size();
        const BoxStarsGiven stars = box_stars(a, a.size(), n_star);
        const BoxTrials trials = box_trials(a, n_period);
        const auto power = a.matrix<float>(a.near(n_period), a.near(n_star));
        View2<float> inverted;
        if (a.once_in(2)) {
            inverted = a.matrix<float>(a.near(n_period), a.near(n_star));
        }
        BoxScan(stars.time, stars.flux, stars.error).run(trials, power, inverted);
    });
}

TEST(hostile_box_search) {
    attack("box_search", 1000, [](Attack& a) {
        const std::size_t n_star = a.size(), n_period = a.size();
        const BoxStarsGiven stars = box_stars(a, a.size(), n_star);
        const BoxTrials trials = box_trials(a, n_period);
        BoxResult out;
        if (!a.once_in(4)) {
            out.power = a.matrix<float>(a.near(n_period), a.near(n_star));
        }
        if (a.once_in(2)) {
            out.inverted = a.matrix<float>(a.near(n_period), a.near(n_star));
        }
        if (a.once_in(2)) {
            out.depth = a.matrix<float>(a.near(n_period), a.near(n_star));
        }
        if (a.once_in(2)) {
            out.duration = a.matrix<std::int32_t>(a.near(n_period), a.near(n_star));
            out.start = a.matrix<std::int32_t>(a.near(n_period), a.near(n_star));
        }
        BoxSearch(stars.time, stars.flux, stars.error).run(trials, out);
    });
}
