#include "factors.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>

namespace starskope::detail {
namespace {

// Nanoseconds per row of one pass, as measured with 16 lanes; their ratios decide.
struct Radix {
    std::uint32_t radix;
    double cost;
};
constexpr Radix radices[] = {{2, 1.0}, {3, 1.5}, {4, 1.3}, {5, 1.8}, {7, 2.4}, {8, 1.75}, {11, 5.0}, {13, 5.2}};
constexpr std::size_t largest_radix = 61;
constexpr std::size_t cached_rows = 128; // of one part, so that its passes stay in the first-level cache
constexpr double uncached = 1.5;         // more per row and pass beyond that

double prime_cost(std::size_t prime) {
    return 1.5 + 0.31 * double(prime);
}

struct Part {
    double cost = std::numeric_limits<double>::infinity();
    std::vector<std::uint32_t> radices;
};

// Cheapest passes for n, by trying every last one.
const Part& cheapest(std::size_t n, std::map<std::size_t, Part>& known) {
    if (const auto found = known.find(n); found != known.end()) {
        return found->second;
    }
    Part best;
    if (n == 1) {
        best.cost = 0.0;
    }
    const auto attempt = [&](std::uint32_t radix, double cost) {
        if (n % radix == 0) {
            const Part& rest = cheapest(n / radix, known);
            if (rest.cost + cost < best.cost) {
                best = {rest.cost + cost, rest.radices};
                best.radices.push_back(radix);
            }
        }
    };
    for (const auto& [radix, cost] : radices) {
        attempt(radix, cost);
    }
    for (std::size_t prime = 17; prime <= largest_radix && prime <= n; prime += 2) {
        if (n % prime == 0 && is_prime(prime)) {
            attempt(std::uint32_t(prime), prime_cost(prime));
        }
    }
    return known.emplace(n, std::move(best)).first->second;
}

double part_cost(const Part& part, std::size_t n) {
    return part.cost + (n > cached_rows ? uncached * double(part.radices.size()) : 0.0);
}

// Operations per row of the best split.
double cost_of(std::size_t n, Split& split) {
    std::map<std::size_t, Part> known;
    const Part& whole = cheapest(n, known);
    double best = part_cost(whole, n);
    split = {whole.radices, {}};
    for (std::size_t columns = 2; columns * columns <= n; ++columns) {
        if (n % columns != 0) {
            continue;
        }
        const Part &first = cheapest(columns, known), &second = cheapest(n / columns, known);
        constexpr double between = 1.5, unbalanced = 1e-3;
        const double cost = part_cost(first, columns) + part_cost(second, n / columns) + between +
                            unbalanced * double(columns + n / columns);
        if (n > cached_rows && cost < best) {
            best = cost;
            split = {first.radices, second.radices};
        }
    }
    return best;
}

std::size_t without_radices(std::size_t n) {
    for (std::size_t p = 2; p <= largest_radix; ++p) {
        while (n % p == 0) {
            n /= p;
        }
    }
    return n;
}

} // namespace

bool has_butterfly(std::uint32_t radix) {
    return radix == 1 || std::any_of(std::begin(radices), std::end(radices),
                                     [&](const Radix& known) { return known.radix == radix; });
}

std::size_t smallest_prime(std::size_t n) {
    for (std::size_t p = 2; p * p <= n; ++p) {
        if (n % p == 0) {
            return p;
        }
    }
    return n;
}

bool is_prime(std::size_t n) {
    return n > 1 && smallest_prime(n) == n;
}

std::size_t large_part(std::size_t n) {
    std::size_t rest = without_radices(n);
    if (rest > 1) {
        return rest;
    }
    // A single prime may be cheaper as a convolution than as a radix.
    Split split;
    std::map<std::size_t, Part> known;
    double least = cost_of(n, split);
    for (std::size_t p = 17; p <= largest_radix; p += 2) {
        if (n % p == 0 && n / p % p != 0 && is_prime(p)) {
            constexpr double around = 2.0;
            const double cost = part_cost(cheapest(n / p, known), n / p) + 2.0 * cost_of(p - 1, split) + around;
            if (cost < least) {
                least = cost;
                rest = p;
            }
        }
    }
    return rest;
}

Split best_split(std::size_t n) {
    Split split;
    cost_of(n, split);
    return split;
}

std::size_t cheap_length(std::size_t n) {
    std::size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t length = n; length <= n + n / 4 + 8; ++length) {
        std::size_t rest = length;
        for (const std::size_t p : {2, 3, 5, 7}) {
            while (rest % p == 0) {
                rest /= p;
            }
        }
        if (rest == 1) {
            Split split;
            const double cost = cost_of(length, split) * double(length);
            if (cost < least) {
                least = cost;
                best = length;
            }
        }
    }
    return best;
}

bool prefers_rader(std::size_t n) {
    if (!is_prime(n) || without_radices(n - 1) != 1) {
        return false;
    }
    Split split;
    const std::size_t padded = cheap_length(2 * n - 1);
    return cost_of(n - 1, split) * double(n) < cost_of(padded, split) * double(padded);
}

std::size_t primitive_root(std::size_t prime) {
    const auto power = [&](std::size_t base, std::size_t exponent) {
        std::size_t result = 1;
        for (; exponent > 0; exponent /= 2, base = base * base % prime) {
            result = exponent % 2 ? result * base % prime : result;
        }
        return result;
    };
    std::size_t g = 1;
    for (bool found = false; !found;) {
        ++g;
        found = true;
        for (std::size_t rest = prime - 1; rest > 1 && found;) {
            const std::size_t p = smallest_prime(rest);
            found = power(g, (prime - 1) / p) != 1;
            while (rest % p == 0) {
                rest /= p;
            }
        }
    }
    return g;
}

} // namespace starskope::detail
