// Stacks frames and takes the spectra of their pixels; prints one checksum per result.
//
//   field OFFSET ROWS COLUMNS FILE...     each file holds a big-endian float32 plane at byte OFFSET, as FITS images do
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

#include <starskope/decode.hpp>
#include <starskope/isa.hpp>
#include <starskope/spectra.hpp>
#include <starskope/stack.hpp>

using starskope::View1;
using starskope::View2;

namespace {

std::vector<unsigned char> read(const char* name) {
    std::ifstream file(name, std::ios::binary);
    if (!file) {
        throw std::runtime_error(std::string(name) + ": cannot be read");
    }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// CRC-32 of the values in memory, as zlib has it.
template <class T>
void print(const char* name, const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
    std::uint32_t crc = ~std::uint32_t{0};
    for (std::size_t i = 0; i < values.size() * sizeof(T); ++i) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0u);
        }
    }
    std::printf("%s %08x\n", name, static_cast<unsigned>(~crc));
}

void reduce(std::size_t offset, std::size_t n_row, std::size_t n_col, const std::vector<const char*>& names) {
    // One frame is one row of a time-major block: neighbouring pixels are neighbouring series.
    const std::size_t n_time = names.size(), n_pixel = n_row * n_col;
    std::vector<float> cube(n_time * n_pixel);
    for (std::size_t i = 0; i < n_time; ++i) {
        const std::vector<unsigned char> bytes = read(names[i]);
        starskope::decode_plane({bytes.data(), bytes.size()}, offset, {cube.data() + i * n_pixel, n_row, n_col});
    }
    const View2<const float> block{cube.data(), n_time, n_pixel};

    std::vector<float> image(n_pixel), std(n_pixel);
    std::vector<std::int32_t> count(n_pixel);
    starskope::SeriesStatistics statistics;
    statistics.mean = {image.data(), n_pixel};
    statistics.std = {std.data(), n_pixel};
    statistics.count = {count.data(), n_pixel};
    starskope::series_statistics(block, starskope::Clip{}, statistics);
    print("image", image);
    print("std", std);
    print("count", count);

    std::vector<float> window(n_time);
    for (std::size_t j = 0; j < n_time; ++j) {
        const double phase = 2.0 * std::numbers::pi * static_cast<double>(j) / static_cast<double>(n_time);
        window[j] = static_cast<float>(0.5 - 0.5 * std::cos(phase));
    }
    const std::size_t n_freq = n_time / 2 + 1;
    std::vector<float> power(n_freq * n_pixel);
    starskope::power_spectrum(block, {window.data(), n_time}, n_time, {power.data(), n_freq, n_pixel});
    print("power", power);

    const std::size_t n_fft = 5 * n_time, n_trial = n_fft / 2;
    std::vector<float> periodogram(n_trial * n_pixel);
    starskope::lomb_scargle(block, {}, n_fft, {periodogram.data(), n_trial, n_pixel});
    print("lomb_scargle", periodogram);
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 5) {
        std::fprintf(stderr, "usage: field OFFSET ROWS COLUMNS FILE...\n");
        return 2;
    }
    try {
        std::fprintf(stderr, "starskope %s, %s\n", starskope::build_info().version.c_str(), starskope::isa().c_str());
        reduce(std::stoul(argv[1]), std::stoul(argv[2]), std::stoul(argv[3]), {argv + 4, argv + argc});
    } catch (const std::exception& error) {
        // The library throws std::invalid_argument and std::bad_alloc; the message names the argument.
        std::fprintf(stderr, "field: %s\n", error.what());
        return 1;
    }
}
