// Which build of the kernels runs: x86-64 has v2, v3 and v4, other processors one `baseline`.
#pragma once

#include <string>
#include <vector>

namespace starskope {

// Name of the instruction set in use. The first call chooses the best that this CPU has, or the one that the
// environment variable STARSKOPE_ISA names; throws std::invalid_argument if that one is unknown or this CPU lacks it.
std::string isa();

// Instruction sets built in that this CPU can run, poorest first.
std::vector<std::string> available_isas();

// Changes the instruction set for the calls that follow, in every thread. Throws std::invalid_argument as isa() does.
void use_isa(const std::string& name);

// What the library was built with: "version", "compiler", "flags", "isas".
struct BuildInfo {
    std::string version;
    std::string compiler;
    std::string build_type;
    std::string kernel_flags;
    std::string isas;
};
BuildInfo build_info();

} // namespace starskope
