#include "starskope/isa.hpp"

#include <algorithm>
#include <stdexcept>

#include "check.hpp"

using namespace starskope;

TEST(the_best_instruction_set_is_chosen_and_can_be_changed) {
    const auto names = available_isas();
    CHECK(!names.empty());
    const std::string before = isa();
    CHECK(std::find(names.begin(), names.end(), before) != names.end());
    use_isa(names.front());
    CHECK(isa() == names.front());
    use_isa(before);
}

TEST(an_unknown_instruction_set_is_refused) {
    const std::string before = isa();
    CHECK_THROWS(std::invalid_argument, "isa=v9", use_isa("v9"));
    CHECK_THROWS(std::invalid_argument, before, use_isa(""));
    CHECK(isa() == before);
}

TEST(the_build_tells_what_it_is) {
    const BuildInfo info = build_info();
    CHECK(!info.version.empty());
    CHECK(!info.compiler.empty());
    CHECK(info.kernel_flags.find("-ffast-math") == std::string::npos);
    for (const std::string& name : available_isas()) {
        CHECK(info.isas.find(name) != std::string::npos);
    }
}
