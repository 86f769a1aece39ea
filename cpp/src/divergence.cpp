#include "starskope/divergence.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "config.hpp"
#include "crew.hpp"
#include "divergence_memory.hpp"

namespace starskope {
namespace detail {

#if STARSKOPE_BFLOAT16
namespace v4bf16 {
extern const DivergenceKernels divergence_mixed;
}
#endif

namespace {

// The kernels of an instruction set that has bfloat16 products, beside the active one; else null.
const DivergenceKernels* native_mixed() {
#if STARSKOPE_BFLOAT16
    __builtin_cpu_init();
    if (std::string(active().name) == "v4" && __builtin_cpu_supports("avx512bf16")) {
        return &v4bf16::divergence_mixed;
    }
#endif
    return nullptr;
}

const DivergenceKernels& kernels_of(const RbmTraining& training) {
    if (training.precision == Precision::float32) {
        return *active().divergence;
    }
    const DivergenceKernels* const native = training.emulate ? nullptr : native_mixed();
    return native != nullptr ? *native : *active().divergence_mixed;
}

} // namespace
} // namespace detail

bool has_bfloat16() {
    return detail::native_mixed() != nullptr;
}

namespace {

void require(bool condition, const std::string& message) {
    if (!condition) {
        throw std::invalid_argument(message);
    }
}

void require_shape(const View2<float>& view, std::size_t n_row, std::size_t n_col, const char* name) {
    require_rows(view, name);
    require(view.n_row == n_row && view.n_col == n_col, std::string(name) + ": is " + std::to_string(view.n_row) +
                                                            " x " + std::to_string(view.n_col) + ", expected " +
                                                            std::to_string(n_row) + " x " + std::to_string(n_col));
}

void require_units(std::size_t n, const char* name) {
    require(n >= 1 && n <= max_rbm_units, std::string(name) + "=" + std::to_string(n) + ": expected 1 to " +
                                              std::to_string(max_rbm_units) + " units");
}

void require_number(bool condition, float value, const char* name, const char* expected) {
    require(condition, std::string(name) + "=" + std::to_string(value) + ": expected " + expected);
}

// Throws unless the views have the sizes of this machine.
void check(const RbmState& state, const RbmTraining& training, std::size_t n_visible, std::size_t n_hidden) {
    require_shape(state.weights, n_visible, n_hidden, "weights");
    require_size(state.visible_bias, n_visible, "visible_bias");
    require_size(state.hidden_bias, n_hidden, "hidden_bias");
    require_size(state.visible_offset, n_visible, "visible_offset");
    require_size(state.hidden_offset, n_hidden, "hidden_offset");
    if (state.chains.data != nullptr) {
        require_shape(state.chains, training.batch_size, n_hidden, "chains");
    }
    const bool moves = state.weight_velocity.data != nullptr;
    require(moves == bool(state.visible_velocity) && moves == bool(state.hidden_velocity),
            "velocities: give all three, or none");
    require(moves || training.momentum == 0.0f, "momentum: needs velocities");
    if (moves) {
        require_shape(state.weight_velocity, n_visible, n_hidden, "weight_velocity");
        require_size(state.visible_velocity, n_visible, "visible_velocity");
        require_size(state.hidden_velocity, n_hidden, "hidden_velocity");
    }
}

void check(const RbmTraining& t) {
    require(t.batch_size >= 1 && t.batch_size <= (std::size_t{1} << 31),
            "batch_size=" + std::to_string(t.batch_size) + ": expected 1 to 2^31");
    require(t.k >= 1 && t.k <= (max_rbm_draws - 1) / 2,
            "k=" + std::to_string(t.k) + ": expected 1 to " + std::to_string((max_rbm_draws - 1) / 2));
    require_number(std::isfinite(t.learning_rate) && t.learning_rate > 0.0f, t.learning_rate, "learning_rate",
                   "a finite number above 0");
    require_number(t.momentum >= 0.0f && t.momentum < 1.0f, t.momentum, "momentum", "a number from 0 to below 1");
    require_number(std::isfinite(t.weight_decay) && t.weight_decay >= 0.0f, t.weight_decay, "weight_decay",
                   "a finite number, 0 or more");
    require_number(t.offset_rate >= 0.0f && t.offset_rate <= 1.0f, t.offset_rate, "offset_rate",
                   "a number from 0 to 1");
}

} // namespace

struct ContrastiveDivergence::Work {
    static constexpr std::uint32_t one = 0x3F800000; // as a float32

    const RbmTraining training;
    const detail::DivergenceKernels& kernels;
    const bool persistent;
    bool starts_offset;
    bool needs_columns = true; // of the batch so far
    detail::DivergenceMemory memory;
    std::unique_ptr<float[], detail::AlignedDelete> hidden_velocity;
    detail::Crew crew;
    mutable std::atomic_flag busy;

    Work(const RbmState& state, const RbmTraining& t)
        : training(t), kernels(detail::kernels_of(t)), persistent(state.chains.data != nullptr),
          starts_offset(!t.has_hidden_offset),
          memory(state.weights.n_row, state.weights.n_col, t.batch_size, t.batch_size, t.visible, kernels) {
        detail::DivergenceJob& job = memory.job;
        memory.load_weights({state.weights.data, state.weights.n_row, state.weights.n_col, state.weights.stride});
        detail::copy(state.visible_bias, job.visible_bias);
        detail::copy(state.hidden_bias, job.hidden_bias);
        detail::copy(state.visible_offset, job.visible_offset);
        detail::copy(state.hidden_offset, job.hidden_offset);
        if (state.weight_velocity.data != nullptr) {
            memory.add_velocity();
            for (std::size_t i = 0; i < job.n_visible; ++i) {
                const auto& from = state.weight_velocity;
                detail::copy(View1<float>{from.data + i * from.stride, from.n_col}, job.velocity + i * job.w_stride);
            }
            detail::copy(state.visible_velocity, job.visible_velocity);
            hidden_velocity = detail::make_scratch<float>(job.n_hidden);
            detail::copy(state.hidden_velocity, hidden_velocity.get());
        }
        for (std::size_t row = 0; persistent && row < state.chains.n_row; ++row) {
            for (std::size_t unit = 0; unit < job.n_hidden; ++unit) {
                state_bits(row, unit) = state.chains.data[row * state.chains.stride + unit] != 0.0f ? one : 0;
            }
        }
        job.centered = t.centered;
        job.offset_rate = t.offset_rate;
        job.rate = t.learning_rate;
        job.decay = t.learning_rate * t.weight_decay;
        job.momentum = t.momentum;
        job.key[0] = t.seed[0];
        job.key[1] = t.seed[1];
        kernels.round_weights(job);
        job.n_data = job.n_model = t.batch_size;
        for (std::size_t tile = 0; persistent && tile < detail::n_tiles(job.n_hidden); ++tile) {
            kernels.number_states(job, tile);
        }
    }

    std::uint32_t& state_bits(std::size_t row, std::size_t unit) const {
        return memory.job.state_columns[unit * memory.job.b_stride + row];
    }

    void gather() {
        crew.run(detail::n_tiles(memory.job.n_visible), [this](std::size_t tile) { kernels.gather(memory.job, tile); });
    }

    void up(bool from_data, bool keeps, bool draws, std::size_t draw) {
        memory.job.from_data = from_data;
        memory.job.keeps = keeps;
        memory.job.draws = draws;
        memory.job.draw = std::uint32_t(draw);
        const bool lists_pay = kernels.lists_pay(memory.job);
        memory.job.by_lists = lists_pay || !memory.job.has_columns;
        needs_columns = needs_columns || !lists_pay;
        // Lists take two tiles at a time well, as long as everybody has two such pieces to take.
        const std::size_t n_tile = detail::n_tiles(memory.job.n_hidden);
        const std::size_t n_piece = n_tile >= 4 * crew.size() ? (n_tile + 1) / 2 : n_tile;
        const std::size_t step = n_piece < n_tile ? 2 : 1;
        crew.run(n_piece, [this, n_tile, step](std::size_t i) {
            kernels.up(memory.job, step * i, std::min(step, n_tile - step * i));
        });
    }

    void down(bool keeps, std::size_t draw) {
        memory.job.keeps = keeps;
        memory.job.draw = std::uint32_t(draw);
        crew.run(detail::n_tiles(memory.job.n_visible), [this](std::size_t tile) { kernels.down(memory.job, tile); });
    }

    void update() {
        detail::DivergenceJob& job = memory.job;
        const std::size_t n = detail::n_tiles(job.n_visible);
        crew.run(n, [this](std::size_t tile) { kernels.update(memory.job, tile); });
        for (std::size_t unit = 0; unit < job.n_hidden; ++unit) {
            float step = (job.data_hidden[unit] + job.model_hidden[unit]) / float(job.n_data);
            for (std::size_t tile = 0; tile < n && training.centered; ++tile) {
                step -= job.bias_part[tile * job.h_stride + unit];
            }
            step *= job.rate;
            if (hidden_velocity) {
                hidden_velocity[unit] = step = job.momentum * hidden_velocity[unit] + step;
            }
            job.hidden_bias[unit] += step;
        }
    }

    void step() {
        needs_columns = false;
        gather();
        memory.job.starts_offset = starts_offset;
        up(true, true, !persistent, 0);
        starts_offset = starts_offset && !training.centered;
        for (std::size_t i = 0; i < training.k; ++i) {
            const bool last = i + 1 == training.k;
            down(last, 2 * i + 1);
            // Only chains that go on need states at the end; the statistics take probabilities, which scatter less.
            up(false, last, !last || persistent, 2 * i + 2);
        }
        update();
        memory.job.has_columns = needs_columns;
    }
};

ContrastiveDivergence::ContrastiveDivergence(const RbmState& state, const RbmTraining& training) {
    require_units(state.weights.n_row, "n_visible");
    require_units(state.weights.n_col, "n_hidden");
    check(training);
    check(state, training, state.weights.n_row, state.weights.n_col);
    work_ = std::make_unique<Work>(state, training);
}

ContrastiveDivergence::~ContrastiveDivergence() = default;

namespace {

// Whoever comes while another is inside is refused.
class Alone {
  public:
    explicit Alone(std::atomic_flag& busy) : busy_(busy) {
        if (busy_.test_and_set(std::memory_order_acquire)) {
            throw std::logic_error("this machine is learning or being copied in another thread: wait for that");
        }
    }
    ~Alone() { busy_.clear(std::memory_order_release); }
    Alone(const Alone&) = delete;
    Alone& operator=(const Alone&) = delete;

  private:
    std::atomic_flag& busy_;
};

} // namespace

void ContrastiveDivergence::learn(View2<const float> data, View1<const std::int64_t> order, std::uint32_t epoch,
                                  std::uint32_t first_batch) {
    const Alone alone(work_->busy);
    detail::DivergenceJob& job = work_->memory.job;
    require_rows(data, "data");
    require(data.n_col == job.n_visible,
            "data: has " + std::to_string(data.n_col) + " columns, expected " + std::to_string(job.n_visible));
    require(order.data != nullptr || order.size == 0, "order: null pointer");
    for (std::size_t i = 0; i < order.size; ++i) {
        require(order.data[i] >= 0 && std::size_t(order.data[i]) < data.n_row,
                "order: element " + std::to_string(i) + " is " + std::to_string(order.data[i]) + ", data has " +
                    std::to_string(data.n_row) + " rows");
    }
    const std::size_t n_batch = work_->training.batch_size;
    job.data = data.data;
    job.data_stride = data.stride;
    job.epoch = epoch;
    for (std::size_t start = 0; start < order.size; start += n_batch) {
        job.row = order.data + start;
        job.n_data = std::min(n_batch, order.size - start);
        job.n_model = work_->persistent ? n_batch : job.n_data;
        job.batch = first_batch + std::uint32_t(start / n_batch);
        work_->step();
    }
}

void ContrastiveDivergence::admit() {
    work_->crew.admit();
}

void ContrastiveDivergence::help() {
    work_->crew.help();
}

void ContrastiveDivergence::release() {
    work_->crew.release();
}

void ContrastiveDivergence::store(const RbmState& state) const {
    const Alone alone(work_->busy);
    const detail::DivergenceJob& job = work_->memory.job;
    check(state, work_->training, job.n_visible, job.n_hidden);
    require((state.chains.data != nullptr) == work_->persistent, "chains: given to one of constructor and store alone");
    require((state.weight_velocity.data != nullptr) == (job.velocity != nullptr),
            "velocities: given to one of constructor and store alone");
    for (std::size_t i = 0; i < job.n_visible; ++i) {
        const auto row = [i](const View2<float>& view) {
            return View1<float>{view.data + i * view.stride, view.n_col};
        };
        detail::copy_out(job.weights + i * job.w_stride, row(state.weights));
        if (job.velocity != nullptr) {
            detail::copy_out(job.velocity + i * job.w_stride, row(state.weight_velocity));
        }
    }
    detail::copy_out(job.visible_bias, state.visible_bias);
    detail::copy_out(job.hidden_bias, state.hidden_bias);
    detail::copy_out(job.visible_offset, state.visible_offset);
    detail::copy_out(job.hidden_offset, state.hidden_offset);
    if (job.velocity != nullptr) {
        detail::copy_out(job.visible_velocity, state.visible_velocity);
        detail::copy_out(work_->hidden_velocity.get(), state.hidden_velocity);
    }
    for (std::size_t row = 0; work_->persistent && row < state.chains.n_row; ++row) {
        for (std::size_t unit = 0; unit < job.n_hidden; ++unit) {
            state.chains.data[row * state.chains.stride + unit] = work_->state_bits(row, unit) != 0 ? 1.0f : 0.0f;
        }
    }
}

bool ContrastiveDivergence::finite() const {
    const Alone alone(work_->busy);
    const detail::DivergenceJob& job = work_->memory.job;
    double total = 0.0;
    for (std::size_t i = 0; i < job.n_visible; ++i) {
        float sum = 0.0f; // infinities and NaN stay
        for (std::size_t j = 0; j < job.n_hidden; ++j) {
            sum += 0.0f * job.weights[i * job.w_stride + j];
        }
        total += double(sum);
    }
    return std::isfinite(total);
}

} // namespace starskope
