#include <cstring>
#include <exception>

#include "check.hpp"
#include "starskope/isa.hpp"

namespace starskope::test {
namespace {

int n_checks = 0;
int n_failures = 0;
std::string context;

} // namespace

std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}

void record(bool passed, const char* file, int line, const std::string& what) {
    ++n_checks;
    if (!passed) {
        ++n_failures;
        std::printf("%s:%d: %s%s\n", file, line, context.c_str(), what.c_str());
    }
}

void for_each_isa(const std::function<void(const std::string&)>& body) {
    const std::string before = isa();
    for (const std::string& name : available_isas()) {
        use_isa(name);
        context = "[" + name + "] ";
        body(name);
    }
    context.clear();
    use_isa(before);
}

} // namespace starskope::test

// With an argument: only the cases whose name contains it.
int main(int argc, char** argv) {
    using namespace starskope::test;
    int n_cases = 0;
    for (const Case& test : cases()) {
        if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) {
            continue;
        }
        ++n_cases;
        try {
            test.run();
        } catch (const std::exception& error) {
            record(false, test.name, 0, std::string("threw ") + error.what());
        }
    }
    std::printf("%d cases, %d checks, %d failures\n", n_cases, n_checks, n_failures);
    return n_failures == 0 && n_checks > 0 ? 0 : 1;
}
