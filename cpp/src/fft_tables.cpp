#include "fft_tables.hpp"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace starskope::detail {
namespace {

using Complex = std::complex<double>;
constexpr double pi = std::numbers::pi;

} // namespace

Complex root(std::uint64_t j, std::uint64_t n) {
    // By eighths of a turn: the angle that is rounded stays below 1, and equal parts come out equal.
    j %= n;
    const std::uint64_t eighth = 8 * j / n;
    const auto part = [n](std::uint64_t i) { return 2.0 * pi * double(i) / double(n); };
    // Distance from the nearest multiple of a quarter, in units of 1 / (4 n) of a turn where it must stay whole.
    const std::uint64_t quarter = (eighth + 1) / 2 % 4, four = 4 * j;
    const std::uint64_t centre = (eighth + 1) / 2 * n;
    const bool after = four >= centre;
    const double angle = part(after ? four - centre : centre - four) / 4.0;
    const double c = std::cos(angle), s = after ? std::sin(angle) : -std::sin(angle);
    switch (quarter) {
    case 0:
        return {c, -s};
    case 1:
        return {-s, -c};
    case 2:
        return {-c, s};
    default:
        return {s, c};
    }
}

Indices reversed(const FftTile& tile) {
    Indices row(tile.length);
    for (std::uint32_t k = 0; k < tile.length; ++k) {
        std::uint32_t rest = k, block = tile.length;
        for (int s = 0; s < tile.n_stage; ++s) {
            block /= tile.stage[s].radix;
            row[k] += rest % tile.stage[s].radix * block;
            rest /= tile.stage[s].radix;
        }
    }
    return row;
}

std::size_t rows_of(const FftSplit& split) {
    return std::size_t(split.columns.length) * split.stride;
}

std::uint32_t natural_row(const FftSplit& split, std::size_t j) {
    return std::uint32_t(j / split.rows.length * split.stride + j % split.rows.length);
}

FftTable Tables::keep(const std::vector<Complex>& values) {
    std::vector<double> wide;
    for (const Complex& value : values) {
        wide.push_back(value.real());
        wide.push_back(value.imag());
    }
    single_.emplace_back(wide.begin(), wide.end());
    wide_.push_back(std::move(wide));
    return {single_.back().data(), wide_.back().data()};
}

namespace {

// exp(-2 pi i j k / prime), j and k from 1 to half the prime, in the order in which the kernels read them: some k at
// once, by j.
std::vector<Complex> prime_roots(std::uint32_t prime) {
    const std::uint32_t n = prime / 2, at_once = prime_elements_at_once;
    std::vector<Complex> roots;
    for (std::uint32_t first = 1; first <= n; first += at_once) {
        for (std::uint32_t j = 1; j <= n; ++j) {
            for (std::uint32_t k = first; k < first + at_once; ++k) {
                roots.push_back(root(std::uint64_t{j} * k, prime));
            }
        }
    }
    return roots;
}

} // namespace

FftTile Tables::tile(const std::vector<std::uint32_t>& radices) {
    FftTile tile{.length = 1, .n_stage = 0, .stage = {}};
    for (const std::uint32_t radix : radices) {
        tile.length *= radix;
    }
    std::uint32_t outer = 1;
    for (const std::uint32_t radix : radices) {
        FftStage& stage = tile.stage[tile.n_stage++];
        stage = {radix, outer, tile.length / (outer * radix), {}, {}};
        outer *= radix;
        std::vector<Complex> twiddle;
        for (std::uint32_t t = 0; t < stage.inner; ++t) {
            for (std::uint32_t k = 1; k < radix; ++k) {
                twiddle.push_back(root(std::uint64_t{t} * k, std::uint64_t{radix} * stage.inner));
            }
        }
        if (stage.inner > 1) {
            stage.twiddle = keep(twiddle);
        }
        if (!has_butterfly(radix)) {
            stage.roots = keep(prime_roots(radix));
        }
    }
    return tile;
}

FftSplit Tables::split(const Split& lengths, bool turned) {
    FftSplit split{.columns = tile(lengths.columns),
                   .rows = tile(lengths.rows),
                   .stride = 0,
                   .n_column = 0,
                   .starts = nullptr,
                   .twiddle = {}};
    const std::uint32_t n_column = split.columns.length, n_row = split.rows.length;
    split.stride = n_column > 1 ? n_row | 1 : n_row; // odd: rows a power of two apart would share cache sets
    Indices starts(n_row);
    std::iota(starts.begin(), starts.end(), 0u);
    split.n_column = n_row;
    split.starts = keep(std::move(starts));
    if (turned && n_column > 1 && n_row > 1) {
        const Indices row = reversed(split.columns);
        std::vector<Complex> twiddle(std::size_t(n_column) * n_row);
        for (std::uint32_t t = 0; t < n_row; ++t) {
            for (std::uint32_t k = 0; k < n_column; ++k) {
                twiddle[std::size_t(t) * n_column + row[k]] = root(std::uint64_t{t} * k, twiddle.size());
            }
        }
        split.twiddle = keep(twiddle);
    }
    return split;
}

namespace {

using LongComplex = std::complex<long double>;

// The transform of a kernel: plain, since it is taken once, and with digits to spare, since every transform inherits
// its errors. `roots` (n * step,) are those of unity.
std::vector<LongComplex> plain_transform(const std::vector<LongComplex>& x, const std::vector<LongComplex>& roots,
                                         std::size_t step) {
    const std::size_t n = x.size();
    if (n == 1) {
        return x;
    }
    const std::size_t p = smallest_prime(n), m = n / p;
    std::vector<LongComplex> out(n), part(m);
    for (std::size_t r = 0; r < p; ++r) {
        for (std::size_t j = 0; j < m; ++j) {
            part[j] = x[r + p * j];
        }
        part = plain_transform(part, roots, step * p);
        for (std::size_t k = 0; k < n; ++k) {
            out[k] += roots[r * k % n * step] * part[k % m];
        }
    }
    return out;
}

} // namespace

FftConvolution Tables::convolution(const std::vector<Complex>& sequence) {
    const std::size_t length = sequence.size();
    FftConvolution result{.length = std::uint32_t(length), .n_row = 0, .split = {}, .kernel = {}};
    Split lengths = best_split(length);
    if (lengths.rows.empty()) {
        std::swap(lengths.rows, lengths.columns); // the kernel meets the groups
    }
    result.split = split(lengths, true);
    result.n_row = std::uint32_t(rows_of(result.split));
    const Indices column = reversed(result.split.columns), row = reversed(result.split.rows);
    std::vector<LongComplex> roots;
    for (std::size_t j = 0; j < length; ++j) {
        const long double angle =
            -2.0L * std::numbers::pi_v<long double> * static_cast<long double>(j) / static_cast<long double>(length);
        roots.emplace_back(std::cos(angle), std::sin(angle));
    }
    const std::vector<LongComplex> transformed =
        plain_transform(std::vector<LongComplex>(sequence.begin(), sequence.end()), roots, 1);
    std::vector<Complex> kernel(length);
    for (std::size_t k = 0; k < length; ++k) {
        const std::size_t n_column = column.size();
        kernel[column[k % n_column] * row.size() + row[k / n_column]] =
            Complex(transformed[k] / static_cast<long double>(length));
    }
    result.kernel = keep(kernel);
    return result;
}

} // namespace starskope::detail
