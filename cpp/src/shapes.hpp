// Checks of lengths and shapes that the entry points of transforms and spectra share. Private to them.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "starskope/fft.hpp"
#include "starskope/view.hpp"

namespace starskope::detail {

inline void require_length(std::size_t n_fft, const char* name) {
    if (n_fft < 1 || n_fft > max_fft_length) {
        throw std::invalid_argument(std::string(name) + "=" + std::to_string(n_fft) + ": expected 1 to " +
                                    std::to_string(max_fft_length));
    }
}

// n_fft holds n rows of the data, which are `what`.
inline void require_room(std::size_t n, std::size_t most, std::size_t n_fft, const char* name, const char* what) {
    require_length(n_fft, name);
    if (n > most) {
        throw std::invalid_argument(std::string(name) + "=" + std::to_string(n_fft) + ": cannot hold the " +
                                    std::to_string(n) + " " + what + " of the data");
    }
}

template <class T>
void require_shape(const View2<T>& out, std::size_t n_row, std::size_t n_col, const char* name) {
    require_rows(out, name);
    if (out.n_row != n_row || out.n_col != n_col) {
        throw std::invalid_argument(std::string(name) + ": has shape " + std::to_string(out.n_row) + " x " +
                                    std::to_string(out.n_col) + ", expected " + std::to_string(n_row) + " x " +
                                    std::to_string(n_col));
    }
}

} // namespace starskope::detail
