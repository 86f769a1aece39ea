// What the MD5 kernel is asked for. Plain data: see kernels.hpp.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace starskope::detail {

constexpr size_t md5_block_bytes = 64;
constexpr size_t md5_most_streams = 16;

// The next n_block blocks of each stream. Streams have nothing in common but the number of blocks.
struct Md5Job {
    uint32_t* const* state;           // (n_stream,) of (4,) each, updated
    const unsigned char* const* data; // (n_stream,) of (64 n_block,) each, any alignment
    size_t n_stream;                  // at most md5_most_streams
    size_t n_block;
};

} // namespace starskope::detail
