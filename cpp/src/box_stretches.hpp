// Stretches of time in which the points of a star are folded: a tree whose root is all of the times. Private to the
// entry points.
#pragma once

#include <cstddef>
#include <vector>

namespace starskope {

// A part of the times. Its sums over phase bins stay good while the frequency moves the phase of its first and last
// point by less than a quarter of a bin: short stretches are folded rarely.
struct Stretch {
    std::size_t first_point = 0, n_point = 0;
    double centre = 0.0, length = 0.0; // the middle of its first and last point, and what lies between them, days
    std::size_t first_part = 0, n_part = 0;

    // Steps in which the frequency of its sums goes, 1/day; 0: any frequency is as good.
    double frequency_step(std::size_t n_bin) const {
        return length > 0.0 ? 1.0 / (length * static_cast<double>(n_bin)) : 0.0;
    }
};

// The stretches of these increasing times for folding over n_bin bins, the whole first, parts of a stretch side by side
// and in order of time.
std::vector<Stretch> stretches(const std::vector<double>& time, std::size_t n_bin);

// The number of bins to use where this many are needed: next in a set whose members lie 6 to 12 % apart, so that long
// ranges of periods share what is folded, and multiples of the lanes of every instruction set.
std::size_t scanned_bins(std::size_t least);

// Bins by which a part is turned in the whole: the phase that passes between their middles, rounded; 0 <= it < n_bin.
std::size_t turned_bins(const Stretch& part, const Stretch& whole, double frequency, std::size_t n_bin);

} // namespace starskope
