// The least that a test needs: checks that count, name their place and go on.
#pragma once

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace starskope::test {

struct Case {
    const char* name;
    void (*run)();
};

std::vector<Case>& cases();
void record(bool passed, const char* file, int line, const std::string& what);

struct Register {
    Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

// Runs `body` once for every instruction set that this CPU has, with that one in use.
void for_each_isa(const std::function<void(const std::string&)>& body);

inline bool close(double a, double b, double tolerance) {
    return (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= tolerance;
}

} // namespace starskope::test

#define TEST(name)                                                                                                     \
    static void name();                                                                                                \
    static const ::starskope::test::Register register_##name(#name, name);                                             \
    static void name()

#define CHECK(condition) ::starskope::test::record(bool(condition), __FILE__, __LINE__, #condition)

#define CHECK_CLOSE(a, b, tolerance)                                                                                   \
    ::starskope::test::record(::starskope::test::close((a), (b), (tolerance)), __FILE__, __LINE__,                     \
                              #a " = " + std::to_string(a) + ", " #b " = " + std::to_string(b))

// The statement throws `exception` and its message holds `part`.
#define CHECK_THROWS(exception, part, ...)                                                                             \
    do {                                                                                                               \
        std::string message = "nothing was thrown";                                                                    \
        bool passed = false;                                                                                           \
        try {                                                                                                          \
            __VA_ARGS__;                                                                                               \
        } catch (const exception& error) {                                                                             \
            message = error.what();                                                                                    \
            passed = message.find(part) != std::string::npos;                                                          \
        }                                                                                                              \
        ::starskope::test::record(passed, __FILE__, __LINE__, #__VA_ARGS__ ": " + message);                            \
    } while (false)
