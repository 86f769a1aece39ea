#include "planner.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "fft_tables.hpp"
#include "recent_plans.hpp"

namespace starskope::detail {
namespace {

using Complex = std::complex<double>;

// A grid with the memory of its tables.
class Planner {
  public:
    Planner(std::size_t n_time, std::size_t n_fft);
    FftGrid grid{};

  private:
    void plan_smooth();
    void plan_large_primes(std::size_t smooth, std::size_t large);
    void rader(std::size_t prime, Indices& slot);
    void bluestein(std::size_t length, Indices& slot);
    void elements();
    void phases();
    void pairs();

    Tables tables_;
    std::vector<FftPair> pairs_;
    std::vector<FftBucket> buckets_;
};

void Planner::plan_smooth() {
    FftPlan& plan = grid.plan;
    plan.groups = FftGroups::smooth;
    Split lengths = best_split(plan.n);
    if (lengths.columns.empty()) {
        lengths.columns = {1}; // the first butterflies take the samples in, be they none
    }
    plan.split = tables_.split(lengths, true);
    plan.n_group = plan.split.columns.length;
    plan.group_rows = plan.split.stride;
    plan.n_row = std::uint32_t(rows_of(plan.split));
    const Indices column = reversed(plan.split.columns), row = reversed(plan.split.rows);
    Indices place(plan.n), row_of(plan.n);
    for (std::uint32_t j = 0; j < plan.n; ++j) {
        place[j] = natural_row(plan.split, j);
        row_of[j] = column[j % plan.n_group] * plan.split.stride + row[j / plan.n_group];
    }
    plan.place = tables_.keep(std::move(place));
    plan.row_of = tables_.keep(std::move(row_of));
}

// X[g^e] = x[0] + sum over q of x[g^q] w^(g^(q + e)): a convolution over the exponents (Rader 1968).
void Planner::rader(std::size_t prime, Indices& slot) {
    const std::size_t g = primitive_root(prime);
    std::vector<Complex> sequence(prime - 1);
    Indices power(prime - 1);
    std::size_t value = 1;
    for (std::size_t e = 0; e + 1 < prime; ++e, value = value * g % prime) {
        power[e] = std::uint32_t(value);
        sequence[(prime - 1 - e) % (prime - 1)] = root(value, prime);
    }
    FftPlan& plan = grid.plan;
    plan.groups = FftGroups::rader;
    plan.convolution = tables_.convolution(sequence);
    plan.group_rows = (1 + plan.convolution.n_row) | 1;
    for (std::size_t e = 0; e + 1 < prime; ++e) {
        slot[power[e]] = 1 + natural_row(plan.convolution.split, e);
    }
}

// j k = (j^2 + k^2 - (k - j)^2) / 2 makes a transform of any length a convolution (Bluestein 1970).
void Planner::bluestein(std::size_t length, Indices& slot) {
    const std::size_t padded = cheap_length(2 * length - 1);
    std::vector<Complex> chirp, sequence(padded);
    for (std::size_t j = 0; j < length; ++j) {
        chirp.push_back(root(std::uint64_t{j} * j, 2 * length));
        sequence[j] = sequence[(padded - j) % padded] = std::conj(chirp[j]);
        slot[j] = std::uint32_t(j);
    }
    FftPlan& plan = grid.plan;
    plan.groups = FftGroups::bluestein;
    plan.convolution = tables_.convolution(sequence);
    plan.group_rows = std::uint32_t(length) | 1;
    plan.n_buffer = plan.convolution.n_row;
    plan.chirp = tables_.keep(chirp);
    Indices buffered, returned;
    for (std::size_t j = 0; j < length; ++j) {
        buffered.push_back(natural_row(plan.convolution.split, j));
        returned.push_back(natural_row(plan.convolution.split, (padded - j) % padded));
    }
    plan.buffered = tables_.keep(std::move(buffered));
    plan.returned = tables_.keep(std::move(returned));
}

// n = s P without common factor: sample (P j1 + s j2) mod n turns the transform into s columns and then s groups
// without twiddles between them, and element k is found at (k mod s, k mod P) (Good 1958).
void Planner::plan_large_primes(std::size_t smooth, std::size_t large) {
    FftPlan& plan = grid.plan;
    Indices slot(large);
    if (prefers_rader(large)) {
        rader(large, slot);
    } else {
        bluestein(large, slot);
    }
    Split lengths = best_split(smooth);
    lengths.columns.insert(lengths.columns.end(), lengths.rows.begin(), lengths.rows.end());
    if (lengths.columns.empty()) {
        lengths.columns = {1};
    }
    plan.n_group = std::uint32_t(smooth);
    plan.n_row = std::uint32_t(smooth) * plan.group_rows;
    plan.split = {.columns = tables_.tile(lengths.columns),
                  .rows = tables_.tile({}),
                  .stride = plan.group_rows,
                  .n_column = std::uint32_t(large),
                  .starts = tables_.keep(Indices(slot)),
                  .twiddle = {}};
    const Indices column = reversed(plan.split.columns);
    Indices place(plan.n), row_of(plan.n);
    for (std::size_t j1 = 0; j1 < smooth; ++j1) {
        for (std::size_t j2 = 0; j2 < large; ++j2) {
            place[(large * j1 + smooth * j2) % plan.n] = std::uint32_t(j1) * plan.group_rows + slot[j2];
        }
    }
    for (std::size_t k = 0; k < plan.n; ++k) {
        row_of[k] = column[k % smooth] * plan.group_rows + slot[k % large];
    }
    plan.place = tables_.keep(std::move(place));
    plan.row_of = tables_.keep(std::move(row_of));
}

void Planner::elements() {
    FftPlan& plan = grid.plan;
    Indices element(plan.n_row, plan.n);
    for (std::uint32_t k = 0; k < plan.n; ++k) {
        element[plan.row_of[k]] = k;
    }
    plan.element = tables_.keep(std::move(element));
}

void Planner::phases() {
    if (grid.n_residue == 1) {
        return;
    }
    const FftPlan& plan = grid.plan;
    std::vector<Complex> phase(std::size_t(grid.n_residue) * plan.n_row);
    for (std::size_t i = 0; i < grid.n_residue; ++i) {
        for (std::size_t j = 0; j < plan.n; ++j) {
            phase[i * plan.n_row + plan.place[j]] = root(std::uint64_t{i} * j, grid.n_fft);
        }
    }
    grid.phase = tables_.keep(phase);
}

void Planner::pairs() {
    const FftPlan& plan = grid.plan;
    const std::size_t n_residue = grid.n_residue;
    struct Place {
        std::uint32_t residue, group, row;
    };
    const auto find = [&](std::size_t k) {
        const std::uint32_t row = plan.row_of[k / n_residue];
        return Place{std::uint32_t(k % n_residue), row / plan.group_rows, row};
    };
    Indices rows;
    for (std::size_t k = 0; k < grid.n_fft; ++k) {
        rows.push_back(std::uint32_t(k % n_residue) * plan.n_row + plan.row_of[k / n_residue]);
    }
    grid.rows = tables_.keep(std::move(rows));
    struct Entry {
        FftBucket bucket;
        FftPair pair;
    };
    std::vector<Entry> entries;
    for (std::size_t k = 0; k <= grid.n_fft / 2; ++k) {
        Place a = find(k), b = find((grid.n_fft - k) % grid.n_fft);
        const bool swapped = std::pair(a.residue, a.group) > std::pair(b.residue, b.group);
        // The block of the second residue follows that of the first.
        (swapped ? a : b).row += a.residue != b.residue ? plan.n_row : 0;
        const FftPair pair{std::uint32_t(k), a.row, b.row};
        if (swapped) {
            std::swap(a, b);
        }
        entries.push_back({{a.residue, a.group, b.residue, b.group, 0, 0}, pair});
    }
    const auto key = [](const Entry& e) {
        return std::tuple(e.bucket.residue, e.bucket.mirror_residue, e.bucket.group, e.bucket.mirror_group);
    };
    std::stable_sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) { return key(a) < key(b); });
    for (std::size_t i = 0; i < entries.size(); ++i) {
        if (i == 0 || key(entries[i]) != key(entries[i - 1])) {
            buckets_.push_back(entries[i].bucket);
            buckets_.back().first_pair = std::uint32_t(i);
        }
        buckets_.back().end_pair = std::uint32_t(i + 1);
        pairs_.push_back(entries[i].pair);
    }
    grid.pairs = pairs_.data();
    grid.buckets = buckets_.data();
    grid.n_bucket = std::uint32_t(buckets_.size());
}

Planner::Planner(std::size_t n_time, std::size_t n_fft) {
    grid.n_fft = std::uint32_t(n_fft);
    grid.n_residue = std::uint32_t(n_fft / n_time);
    grid.plan.n = std::uint32_t(n_fft / grid.n_residue);
    const std::size_t large = large_part(grid.plan.n);
    if (large == 1) {
        plan_smooth();
    } else {
        plan_large_primes(grid.plan.n / large, large);
    }
    elements();
    phases();
    pairs();
}

} // namespace

std::shared_ptr<const FftGrid> plan_fft(std::size_t n_time, std::size_t n_fft) {
    static RecentPlans<Planner, 32> plans;
    if (n_time == 0 || n_fft % n_time != 0) {
        n_time = n_fft; // padded inside the transform: one plan for all such n_time
    }
    return plans.of(n_time, n_fft);
}

} // namespace starskope::detail
