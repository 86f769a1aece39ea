// Foreign bytes to native numbers.
#pragma once

#include <cstddef>

#include "starskope/view.hpp"

namespace starskope {

// Big-endian IEEE float32, as in a FITS image with BITPIX -32, to native float32.
//
// bytes  (n,)            any alignment; the plane starts at `offset`
// out    (n_row, n_col)  written; must not overlap bytes
//
// Bit patterns are kept, so NaN payloads survive. Throws std::invalid_argument when the plane does not lie within
// bytes.
void decode_plane(View1<const unsigned char> bytes, std::size_t offset, View2<float> out);

} // namespace starskope
