// Contrastive divergence: the training of restricted Boltzmann machines, and what a trained one says of data.
//
// Energy of visible units v and binary hidden units h with weights W and biases b, c:
//   bernoulli  E = -b.v - c.h - v.W.h          gaussian  E = |v - b|^2 / 2 - c.h - v.W.h
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "starskope/view.hpp"

namespace starskope {

enum class Visible { bernoulli, gaussian };

// float32 products, or bfloat16 ones whose sums and weights stay float32.
enum class Precision { float32, mixed };

// Most units of a layer, and most draws of a batch: 2 k + 1.
inline constexpr std::size_t max_rbm_units = std::size_t{4} << 20;
inline constexpr std::size_t max_rbm_draws = std::size_t{1} << 12;

// The numbers of a machine in somebody's memory. No two of them may overlap.
struct RbmState {
    View2<float> weights;        // (n_visible, n_hidden)
    View1<float> visible_bias;   // (n_visible)
    View1<float> hidden_bias;    // (n_hidden)
    View1<float> visible_offset; // (n_visible): around which the gradient is centred
    View1<float> hidden_offset;  // (n_hidden)
    View2<float> chains; // (batch_size, n_hidden), 0 or 1: persistent chains; null for chains that start at data
    View2<float> weight_velocity; // (n_visible, n_hidden); these three are null without momentum
    View1<float> visible_velocity;
    View1<float> hidden_velocity;
};

struct RbmTraining {
    Visible visible = Visible::gaussian;
    Precision precision = Precision::float32;
    bool emulate = false; // mixed precision without the processor's instructions for it
    bool centered = true;
    bool has_hidden_offset = false; // else the hidden offsets begin at their mean over the first batch
    std::size_t k = 1;              // Gibbs steps per update
    std::size_t batch_size = 100;   // rows of data per update
    float learning_rate = 0.01f;    // of the mean gradient
    float momentum = 0.0f;
    float weight_decay = 0.0f;
    float offset_rate = 0.01f; // with which offsets follow the means of batches
    std::array<std::uint32_t, 2> seed{};
};

// Whether mixed precision uses bfloat16 instructions with the instruction set in use; else float32 ones give its
// results.
bool has_bfloat16();

// A machine that learns. Threads may help: results do not depend on how many do, nor on when they come.
class ContrastiveDivergence {
  public:
    // Copies the state. Throws std::invalid_argument on sizes that do not fit or settings out of range.
    ContrastiveDivergence(const RbmState& state, const RbmTraining& training);
    ~ContrastiveDivergence();
    ContrastiveDivergence(const ContrastiveDivergence&) = delete;
    ContrastiveDivergence& operator=(const ContrastiveDivergence&) = delete;

    // Updates once per batch_size rows (the last batch may be shorter), with rows order[0], order[1], ... of
    //   data   (n_row, n_visible)  finite; bernoulli: from 0 to 1
    //   order  (n)                 each below n_row
    // Random numbers depend on seed, epoch and number of the batch, which counts from `first_batch`.
    // Throws std::invalid_argument on a wrong size or an order that points elsewhere, std::logic_error when called
    // while another call of learn or store runs.
    void learn(View2<const float> data, View1<const std::int64_t> order, std::uint32_t epoch,
               std::uint32_t first_batch);

    // Other threads may call help, which takes part in the work of learn from admit until release.
    void admit();
    void help();
    void release();

    // Copies to `state`, whose views have the sizes of those given to the constructor.
    void store(const RbmState& state) const;

    // Whether all weights are finite: learning that runs away ends in infinities and NaN.
    bool finite() const;

  private:
    struct Work;
    std::unique_ptr<Work> work_;
};

// Parameters of a machine for the functions below.
struct RbmParameters {
    View2<const float> weights;      // (n_visible, n_hidden)
    View1<const float> visible_bias; // (n_visible)
    View1<const float> hidden_bias;  // (n_hidden)
    Visible visible = Visible::gaussian;
};

// Of `data` (n_row, n_visible), row by row; a row's result does not depend on the others. Outputs must not overlap
// inputs. Throw std::invalid_argument on wrong sizes.
//
// Probabilities of the hidden units -> out (n_row, n_hidden).
void hidden_probabilities(const RbmParameters& machine, View2<const float> data, View2<float> out);

// Free energies -ln sum_h exp(-E) -> out (n_row).
void free_energy(const RbmParameters& machine, View2<const float> data, View1<double> out);

// Visible states after n_step Gibbs steps from `data` -> out (n_row, n_visible). The random numbers of row i are those
// of (seed, first_row + i).
void gibbs(const RbmParameters& machine, View2<const float> data, std::size_t n_step, std::array<std::uint32_t, 2> seed,
           std::uint32_t first_row, View2<float> out);

// What data are like: the sums of their columns -> sums (n_col), which are not finite where a value is not; and the
// range of their values, infinite if there are none. Throws std::invalid_argument on wrong sizes.
struct ValueRange {
    float low, high;
};
ValueRange describe_rows(View2<const float> data, View1<double> sums);

// Draws the weights that training starts from -> out (n_row, n_hidden): normal numbers of this standard deviation,
// those of (seed, first_row + i). Throws std::invalid_argument on wrong sizes.
void first_weights(float deviation, std::array<std::uint32_t, 2> seed, std::uint32_t first_row, View2<float> out);

} // namespace starskope
