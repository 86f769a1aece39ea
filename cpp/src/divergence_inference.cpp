// What a trained machine says of data: probabilities, free energies, Gibbs samples; and what a new one starts from. The
// kernels are those of training.
#include <algorithm>
#include <cmath>
#include <limits>

#include "divergence_memory.hpp"

namespace starskope {
namespace {

// Rows that go through the machine at a time. The same whatever the data, so that sums are cut alike.
constexpr std::size_t n_row_at_once = 128;

void check(const RbmParameters& machine, const View2<const float>& data) {
    const std::size_t n_visible = machine.weights.n_row, n_hidden = machine.weights.n_col;
    require_rows(machine.weights, "weights");
    require_rows(data, "data");
    for (const std::size_t n : {n_visible, n_hidden}) {
        if (n < 1 || n > max_rbm_units) {
            throw std::invalid_argument("weights: are " + std::to_string(n_visible) + " x " + std::to_string(n_hidden) +
                                        ", expected 1 to " + std::to_string(max_rbm_units) + " units of a kind");
        }
    }
    require_size(machine.visible_bias, n_visible, "visible_bias");
    require_size(machine.hidden_bias, n_hidden, "hidden_bias");
    if (data.n_col != n_visible) {
        throw std::invalid_argument("data: has " + std::to_string(data.n_col) + " columns, expected " +
                                    std::to_string(n_visible));
    }
}

class Rows {
  public:
    Rows(const RbmParameters& machine, View2<const float> data)
        : kernels_(*detail::active().divergence), data_(data),
          memory_(machine.weights.n_row, machine.weights.n_col, n_row_at_once, n_row_at_once, machine.visible,
                  kernels_) {
        memory_.load_weights(machine.weights);
        detail::copy(machine.visible_bias, job().visible_bias);
        detail::copy(machine.hidden_bias, job().hidden_bias);
        job().n_data = job().n_model = n_row_at_once;
        job().row = row_;
        for (std::size_t i = 0; i < n_row_at_once; ++i) {
            row_[i] = std::int64_t(i);
        }
    }

    detail::DivergenceJob& job() { return memory_.job; }

    // Takes in the rows from `start` on, and calls f(n_row) for them.
    template <class F>
    void each(const F& f) {
        for (std::size_t start = 0; start < data_.n_row; start += n_row_at_once) {
            const std::size_t n = std::min(n_row_at_once, data_.n_row - start);
            job().data = data_.data + start * data_.stride;
            job().data_stride = data_.stride;
            job().n_data = job().n_model = n;
            for (std::size_t tile = 0; tile < detail::n_tiles(job().n_visible); ++tile) {
                kernels_.gather(job(), tile);
            }
            f(start, n);
        }
    }

    void up(bool from_data, bool keeps, bool draws) {
        job().from_data = from_data;
        job().keeps = keeps;
        job().draws = draws;
        job().by_lists = kernels_.lists_pay(job());
        kernels_.up(job(), 0, detail::n_tiles(job().n_hidden));
    }

    void down() {
        job().keeps = true;
        for (std::size_t tile = 0; tile < detail::n_tiles(job().n_visible); ++tile) {
            kernels_.down(job(), tile);
        }
    }

  private:
    const detail::DivergenceKernels& kernels_;
    View2<const float> data_;
    detail::DivergenceMemory memory_;
    std::int64_t row_[n_row_at_once];
};

View1<float> row_of(const View2<float>& out, std::size_t i) {
    return {out.data + i * out.stride, out.n_col};
}

void check_out(const View2<float>& out, std::size_t n_row, std::size_t n_col) {
    require_rows(out, "out");
    if (out.n_row != n_row || out.n_col != n_col) {
        throw std::invalid_argument("out: is " + std::to_string(out.n_row) + " x " + std::to_string(out.n_col) +
                                    ", expected " + std::to_string(n_row) + " x " + std::to_string(n_col));
    }
}

} // namespace

void hidden_probabilities(const RbmParameters& machine, View2<const float> data, View2<float> out) {
    check(machine, data);
    check_out(out, data.n_row, machine.weights.n_col);
    Rows rows(machine, data);
    const detail::DivergenceJob& job = rows.job();
    rows.each([&](std::size_t start, std::size_t n) {
        rows.up(true, true, false);
        for (std::size_t i = 0; i < n; ++i) {
            detail::copy_out(reinterpret_cast<const float*>(job.hidden_rows + i * job.h_stride),
                             row_of(out, start + i));
        }
    });
}

void free_energy(const RbmParameters& machine, View2<const float> data, View1<double> out) {
    check(machine, data);
    require_size(out, data.n_row, "out");
    Rows rows(machine, data);
    rows.each([&](std::size_t start, std::size_t n) {
        rows.up(true, false, false);
        detail::active().softplus_sums(rows.job(), out.data + start);
        for (std::size_t i = start; i < start + n; ++i) {
            double own = 0.0;
            for (std::size_t j = 0; j < data.n_col; ++j) {
                const double v = double(data.data[i * data.stride + j]), b = double(machine.visible_bias.data[j]);
                own += machine.visible == Visible::gaussian ? 0.5 * (v - b) * (v - b) : -v * b;
            }
            out.data[i] = own - out.data[i];
        }
    });
}

void gibbs(const RbmParameters& machine, View2<const float> data, std::size_t n_step, std::array<std::uint32_t, 2> seed,
           std::uint32_t first_row, View2<float> out) {
    check(machine, data);
    check_out(out, data.n_row, data.n_col);
    if (n_step < 1 || n_step > 0xFFFFFFFF) {
        throw std::invalid_argument("n_step=" + std::to_string(n_step) + ": expected 1 to 2^32 - 1");
    }
    Rows rows(machine, data);
    detail::DivergenceJob& job = rows.job();
    job.key[0] = seed[0];
    job.key[1] = seed[1];
    job.epoch = 0xFFFFFFFD; // where training has its epochs; learn/draws.py calls it GIBBS
    rows.each([&](std::size_t start, std::size_t n) {
        job.first_row = first_row + std::uint32_t(start);
        for (std::size_t step = 0; step < n_step; ++step) {
            job.batch = std::uint32_t(step);
            job.draw = 0;
            rows.up(step == 0, false, true);
            job.draw = 1;
            rows.down();
        }
        for (std::size_t i = 0; i < n; ++i) {
            detail::copy_out(reinterpret_cast<const float*>(job.visible_rows + (n + i) * job.v_stride),
                             row_of(out, start + i));
        }
    });
}

ValueRange describe_rows(View2<const float> data, View1<double> sums) {
    require_rows(data, "data");
    require_size(sums, data.n_col, "sums");
    constexpr float infinity = std::numeric_limits<float>::infinity();
    float range[2] = {infinity, -infinity};
    std::fill_n(sums.data, sums.size, 0.0);
    if (data.n_row > 0 && data.n_col > 0) { // else they may point nowhere
        detail::active().divergence->describe_rows(data.data, data.stride, data.n_row, data.n_col, sums.data, range);
    }
    return {range[0], range[1]};
}

void first_weights(float deviation, std::array<std::uint32_t, 2> seed, std::uint32_t first_row, View2<float> out) {
    require_rows(out, "out");
    if (!(std::isfinite(deviation) && deviation > 0.0f)) {
        throw std::invalid_argument("deviation=" + std::to_string(deviation) + ": expected a finite number above 0");
    }
    if (out.n_row > max_rbm_units || out.n_col > max_rbm_units) {
        throw std::invalid_argument("out: is " + std::to_string(out.n_row) + " x " + std::to_string(out.n_col) +
                                    ", expected at most " + std::to_string(max_rbm_units) + " units of a kind");
    }
    const detail::DivergenceKernels& kernels = *detail::active().divergence;
    detail::DivergenceJob job{};
    job.n_hidden = out.n_col;
    job.key[0] = seed[0];
    job.key[1] = seed[1];
    job.epoch = 0xFFFFFFFF; // where training has its epochs; learn/draws.py calls it WEIGHTS
    for (std::size_t row = 0; out.n_col > 0 && row < out.n_row; row += kernels.n_normal_rows) {
        job.first_row = first_row + std::uint32_t(row);
        kernels.draw_normal(job, deviation, std::min(kernels.n_normal_rows, out.n_row - row),
                            out.data + row * out.stride, out.stride);
    }
}

} // namespace starskope
