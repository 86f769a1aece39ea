#include "starskope/decode.hpp"

#include "dispatch.hpp"

namespace starskope {

void decode_plane(View1<const unsigned char> bytes, std::size_t offset, View2<float> out) {
    require_rows(out, "out");
    if (out.n_row == 0 || out.n_col == 0) {
        return;
    }
    const std::size_t available = bytes.data != nullptr && offset <= bytes.size ? bytes.size - offset : 0;
    if (out.n_col > available / 4 / out.n_row) {
        throw std::invalid_argument("buffer: " + std::to_string(bytes.size) + " bytes do not hold a plane of " +
                                    std::to_string(out.n_row) + " x " + std::to_string(out.n_col) +
                                    " float32 at offset " + std::to_string(offset));
    }
    detail::active().decode_plane(bytes.data + offset, out.data, out.n_row, out.n_col, out.stride);
}

} // namespace starskope
