// Random calls of entry points with sizes, strides, pointers and settings that fit, almost fit, or do not fit at all.
// A call must throw what the interface promises and leave its outputs alone, or return; either way it stays within its
// arrays and leaves inputs alone. Arrays are as long as their views say, to the element, so that the address sanitizer
// sees every step outside; without it guards around them see the writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include "starskope/view.hpp"

namespace starskope::test {

class Attack {
  public:
    explicit Attack(std::uint64_t seed) : random_(seed) {}

    std::size_t below(std::size_t n) { return std::size_t(random_() % n); }
    bool once_in(std::size_t n) { return below(n) == 0; }
    // The size of an axis: small, now and then 0 or 1.
    std::size_t size() { return once_in(12) ? below(2) : 1 + below(40); }
    // The right size, sometimes not.
    std::size_t near(std::size_t right);
    // A setting: the right one, sometimes one beyond all bounds.
    std::size_t setting(std::size_t right);
    // Ordinary, sometimes NaN, infinite, negative, 0, tiny or huge.
    double number();
    double setting(double right) { return once_in(12) ? number() : right; }

    // Arrays: inputs where T is const, outputs otherwise. Sometimes null, or with rows that overlap.
    template <class T>
    View1<T> vector(std::size_t n) {
        return vector<T>(n, [this](std::size_t) { return number(); });
    }
    template <class T>
    View1<T> vector(std::size_t n, const std::function<double(std::size_t)>& value) {
        T* data = allocate<T>(n, value);
        return {once_in(40) ? nullptr : data, n};
    }
    template <class T>
    View2<T> matrix(std::size_t n_row, std::size_t n_col);

    // Says what is wrong with the arrays after a call, or nothing.
    const char* damage(bool refused) const;

  private:
#if defined(__SANITIZE_ADDRESS__)
    static constexpr std::size_t guard = 0;
#else
    static constexpr std::size_t guard = 256;
#endif
    struct Array {
        std::unique_ptr<unsigned char[]> bytes;
        std::vector<unsigned char> before;
        std::size_t offset, size;
        bool is_input;
    };

    template <class T>
    T* allocate(std::size_t n, const std::function<double(std::size_t)>& value);

    std::mt19937_64 random_;
    std::vector<Array> arrays_;
};

// Runs `call` n times per instruction set; fails on damage, on an exception that is neither std::invalid_argument nor
// std::bad_alloc, and when all calls were refused or none.
void attack(const char* name, int n, const std::function<void(Attack&)>& call);

template <class T>
T* Attack::allocate(std::size_t n, const std::function<double(std::size_t)>& value) {
    using Element = std::remove_const_t<T>;
    constexpr std::size_t align = alignof(std::max_align_t);
    Array array;
    array.size = n * sizeof(T);
    array.offset = guard + align * (guard != 0 && once_in(2)) / 2; // 8 more: aligned for T, and no more than that
    array.bytes = std::make_unique<unsigned char[]>(array.offset + array.size + guard);
    std::memset(array.bytes.get(), 0xa5, array.offset + array.size + guard);
    array.is_input = std::is_const_v<T>;
    for (std::size_t i = 0; array.is_input && i < n; ++i) {
        const double x = value(i);
        Element element;
        if constexpr (std::is_floating_point_v<Element>) {
            element = static_cast<Element>(x);
        } else if constexpr (std::is_class_v<Element>) { // complex
            element = {static_cast<typename Element::value_type>(x),
                       static_cast<typename Element::value_type>(value(i))};
        } else {
            element = std::isfinite(x) && std::fabs(x) < 100.0 ? static_cast<Element>(std::fabs(x)) : Element(7);
        }
        std::memcpy(array.bytes.get() + array.offset + i * sizeof(T), &element, sizeof element);
    }
    array.before.assign(array.bytes.get(), array.bytes.get() + array.offset + array.size + guard);
    arrays_.push_back(std::move(array));
    return reinterpret_cast<T*>(arrays_.back().bytes.get() + arrays_.back().offset);
}

template <class T>
View2<T> Attack::matrix(std::size_t n_row, std::size_t n_col) {
    constexpr std::size_t huge = std::numeric_limits<std::size_t>::max() / 2;
    if (n_row == 0 || n_col == 0) { // no element, whatever the other axis says
        const bool endless = once_in(6);
        return {once_in(2) ? nullptr : allocate<T>(0, {}), endless && n_col == 0 ? huge : n_row,
                endless && n_row == 0 ? huge : n_col, once_in(4) ? huge : n_col};
    }
    std::size_t stride = n_col + (once_in(3) ? below(9) : 0);
    T* data = allocate<T>((n_row - 1) * stride + n_col, [this](std::size_t) { return number(); });
    if (once_in(40)) {
        stride = below(n_col); // rows that overlap
    } else if (n_row == 1 && once_in(4)) {
        stride = once_in(2) ? 0 : huge; // nobody steps along one row
    }
    return {once_in(40) ? nullptr : data, n_row, n_col, stride};
}

} // namespace starskope::test
