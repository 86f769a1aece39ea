#include "hostile.hpp"

#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>

#include "check.hpp"

namespace starskope::test {

std::size_t Attack::near(std::size_t right) {
    if (!once_in(24)) {
        return right;
    }
    const std::size_t wrong[] = {0, right + 1, right == 0 ? 1 : right - 1, 2 * right, right + 17};
    return wrong[below(5)];
}

std::size_t Attack::setting(std::size_t right) {
    if (!once_in(12)) {
        return right;
    }
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    const std::size_t wrong[] = {0, right - 1, right + 1, most, most / 2 + 1, most / 4, std::size_t{1} << 31};
    return wrong[below(7)];
}

double Attack::number() {
    constexpr double special[] = {std::numeric_limits<double>::quiet_NaN(),
                                  std::numeric_limits<double>::infinity(),
                                  -std::numeric_limits<double>::infinity(),
                                  0.0,
                                  -0.0,
                                  -1.0,
                                  1e-42,
                                  -1e-300,
                                  3e38,
                                  -3e38,
                                  1e300};
    if (once_in(20)) {
        const double x = special[below(11)];
        // float holds none of these two; a cast to it would be undefined.
        return x == 1e300 ? 3e38 : x;
    }
    return std::normal_distribution<double>(10.0, 3.0)(random_);
}

const char* Attack::damage(bool refused) const {
    for (const Array& array : arrays_) {
        const unsigned char *now = array.bytes.get(), *before = array.before.data();
        const std::size_t end = array.offset + array.size, all = array.before.size();
        if (!std::equal(now, now + array.offset, before) || !std::equal(now + end, now + all, before + end)) {
            return "wrote outside an array";
        }
        if (array.is_input && !std::equal(now, now + all, before)) {
            return "wrote to an input";
        }
        if (refused && !std::equal(now, now + all, before)) {
            return "wrote before it refused";
        }
    }
    return nullptr;
}

void attack(const char* name, int n, const std::function<void(Attack&)>& call) {
    for_each_isa([&](const std::string& isa) {
        int n_refused = 0;
        for (int i = 0; i < n; ++i) {
            Attack attack(std::uint64_t(i) * 1000003u + isa.size() + std::uint64_t(isa.back()));
            bool refused = false;
            std::string other;
            try {
                call(attack);
            } catch (const std::invalid_argument& error) {
                refused = true;
                other = std::string(error.what()).empty() ? "no message" : "";
            } catch (const std::bad_alloc&) {
                refused = true;
            } catch (const std::exception& error) {
                other = std::string("threw ") + error.what();
            }
            const char* damage = attack.damage(refused);
            if (damage != nullptr || !other.empty()) {
                record(false, name, i, damage != nullptr ? damage : other);
            }
            n_refused += refused;
        }
        record(n_refused > n / 50 && n_refused < n - n / 10, name, 0,
               std::to_string(n_refused) + " of " + std::to_string(n) + " calls refused");
    });
}

} // namespace starskope::test
