// How lengths of Fourier transforms are taken apart, and by which measure. Numbers only: no tables, no data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace starskope::detail {

// Radices of the two parts of a transform, columns first; `rows` is empty where one part is enough.
struct Split {
    std::vector<std::uint32_t> columns;
    std::vector<std::uint32_t> rows;
};

// The kernels have code of its own for this radix; any other radix is an odd prime and costs its square.
bool has_butterfly(std::uint32_t radix);

std::size_t smallest_prime(std::size_t n); // n >= 2
bool is_prime(std::size_t n);

// The part of n that is transformed as a convolution: primes too large to be radices, or one that is cheaper so. It has
// no factor in common with the rest.
std::size_t large_part(std::size_t n);

// The cheapest way found for n >= 1 without primes that are too large to be radices.
Split best_split(std::size_t n);

// A length of at least n whose transform is cheap.
std::size_t cheap_length(std::size_t n);

// A large part is transformed by Rader's convolution of length n - 1, else by Bluestein's of about 2 n.
bool prefers_rader(std::size_t n);

std::size_t primitive_root(std::size_t prime);

} // namespace starskope::detail
