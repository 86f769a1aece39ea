#include "box_stretches.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/box_jobs.hpp"

namespace starskope {
namespace {

// Fewer points are folded one by one: to add up parts costs as much as folding some hundred points, or more where there
// are many bins.
std::size_t points_together(std::size_t n_bin) {
    return std::max(std::size_t{256}, n_bin / 4);
}

// Parts of a stretch at most. Each level of the tree rounds the phase of its parts to a bin, so it shall be flat.
constexpr std::size_t most_parts = 16;

Stretch stretch(const std::vector<double>& time, std::size_t first, std::size_t end) {
    return {.first_point = first,
            .n_point = end - first,
            .centre = 0.5 * (time[first] + time[end - 1]),
            .length = time[end - 1] - time[first]};
}

} // namespace

std::vector<Stretch> stretches(const std::vector<double>& time, std::size_t n_bin) {
    std::vector<Stretch> all;
    if (time.empty()) {
        return all;
    }
    const std::size_t together = points_together(n_bin);
    all.push_back(stretch(time, 0, time.size()));
    for (std::size_t i = 0; i < all.size(); ++i) {
        const Stretch whole = all[i];
        const std::size_t n = std::min(most_parts, (whole.n_point + together - 1) / together);
        if (n < 2) {
            continue;
        }
        all[i].first_part = all.size();
        const double from = time[whole.first_point], width = whole.length / static_cast<double>(n);
        const std::size_t end = whole.first_point + whole.n_point;
        std::size_t first = whole.first_point;
        for (std::size_t k = 1; k <= n; ++k) {
            const double to = from + static_cast<double>(k) * width;
            std::size_t next = first;
            while (next < end && (k == n || time[next] < to)) {
                ++next;
            }
            if (next > first) {
                all.push_back(stretch(time, first, next));
                first = next;
            }
        }
        all[i].n_part = all.size() - all[i].first_part;
    }
    return all;
}

std::size_t scanned_bins(std::size_t least) {
    const std::size_t step = std::max(std::size_t{detail::box_scan_bins}, std::bit_floor(least) / 8);
    return (least + step - 1) / step * step;
}

std::size_t turned_bins(const Stretch& part, const Stretch& whole, double frequency, std::size_t n_bin) {
    const double bins = static_cast<double>(n_bin);
    const double turn = std::floor((part.centre - whole.centre) * frequency * bins + 0.5);
    const double rest = turn - bins * std::floor(turn / bins);
    // Turns without number or end belong to periods that no times resolve.
    return rest >= 0.0 && rest < bins ? static_cast<std::size_t>(rest) : 0;
}

} // namespace starskope
