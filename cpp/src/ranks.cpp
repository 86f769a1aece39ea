#include "ranks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace starskope::detail {
namespace {

// Standard deviations around an expected median that are looked at first: four of its errors with 300 free numbers; and
// the same for the median deviation, as a fraction of it.
constexpr double centre_reach = 0.3, scatter_reach = 0.3;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Mean of the values of two ranks, equal or next to each other; the values are reordered.
double middle_of(double* values, std::size_t n, std::size_t first, std::size_t second) {
    const double low = ranked(values, n, first);
    return first == second ? low : 0.5 * (low + *std::min_element(values + second, values + n));
}

struct Gathered {
    std::size_t below, n;
};

// Copies the values from low to high: a store that the next one overwrites, instead of a branch that nobody can
// predict.
Gathered gather(const double* values, std::size_t n, double low, double high, double* scratch) {
    std::size_t below = 0, m = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const double value = values[i];
        scratch[m] = value;
        below += std::size_t(value < low);
        m += std::size_t((value >= low) & (value <= high));
    }
    return {below, m};
}

} // namespace

double ranked(double* values, std::size_t n, std::size_t k) {
    auto low = std::ptrdiff_t{0}, high = static_cast<std::ptrdiff_t>(n) - 1;
    const auto rank = static_cast<std::ptrdiff_t>(k);
    while (high - low > 8) {
        // The median of three as pivot: sorted input is as quick as any.
        const double a = values[low], b = values[(low + high) / 2], c = values[high];
        const double pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
        std::ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot) {
                ++i;
            }
            while (pivot < values[j]) {
                --j;
            }
            if (i <= j) {
                std::swap(values[i++], values[j--]);
            }
        }
        if (rank <= j) {
            high = j;
        } else if (rank >= i) {
            low = i;
        } else {
            return values[k];
        }
    }
    for (std::ptrdiff_t i = low + 1; i <= high; ++i) {
        const double one = values[i];
        std::ptrdiff_t j = i;
        for (; j > low && one < values[j - 1]; --j) {
            values[j] = values[j - 1];
        }
        values[j] = one;
    }
    return values[k];
}

double median(double* values, std::size_t n) {
    return n > 0 ? middle_of(values, n, (n - 1) / 2, n / 2) : nan;
}

double ranked_between(const double* values, std::size_t n, std::size_t k, double low, double high, double* scratch) {
    Gathered found = gather(values, n, low, high, scratch);
    if (k < found.below || k >= found.below + found.n) {
        std::copy_n(values, n, scratch);
        found = {0, n};
    }
    return ranked(scratch, found.n, k - found.below);
}

double median_between(const double* values, std::size_t n, double low, double high, double* scratch) {
    if (n == 0) {
        return nan;
    }
    const std::size_t first = (n - 1) / 2, second = n / 2;
    Gathered found = gather(values, n, low, high, scratch);
    if (first < found.below || second >= found.below + found.n) {
        std::copy_n(values, n, scratch);
        found = {0, n};
    }
    return middle_of(scratch, found.n, first - found.below, second - found.below);
}

Spread spread(double* values, std::size_t n, Spread expected, double* scratch) {
    const double reach = centre_reach * expected.sigma;
    const double middle = median_between(values, n, expected.centre - reach, expected.centre + reach, scratch);
    for (std::size_t i = 0; i < n; ++i) {
        values[i] = std::fabs(values[i] - middle);
    }
    const double usual = expected.sigma / mad_to_sigma;
    return {middle, mad_to_sigma * median_between(values, n, (1.0 - scatter_reach) * usual,
                                                  (1.0 + scatter_reach) * usual, scratch)};
}

} // namespace starskope::detail
