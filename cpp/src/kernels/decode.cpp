#include "variant.hpp"

#include <string.h>

namespace starskope::detail::STARSKOPE_VARIANT {

void decode_plane(const unsigned char* bytes, float* out, size_t n_row, size_t n_col, size_t out_stride) {
    if (out_stride == n_col) { // one long row: no remainders
        n_col *= n_row;
        n_row = 1;
    }
    for (size_t row = 0; row < n_row; ++row) {
        const unsigned char* __restrict from = bytes + row * n_col * 4;
        float* __restrict to = out + row * out_stride;
        for (size_t i = 0; i < n_col; ++i) {
            uint32_t bits;
            memcpy(&bits, from + 4 * i, 4);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            bits = __builtin_bswap32(bits);
#endif
            memcpy(to + i, &bits, 4);
        }
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
