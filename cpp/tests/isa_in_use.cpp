// Exits 0 when the instruction set in use is the one named on the command line, 77 when this CPU lacks that one.
#include <cstdio>
#include <exception>
#include <string>

#include "starskope/isa.hpp"

int main(int argc, char** argv) {
    const std::string wanted = argc > 1 ? argv[1] : "";
    try {
        const std::string used = starskope::isa();
        std::printf("in use: %s\n", used.c_str());
        return used == wanted ? 0 : 1;
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        for (const std::string& name : starskope::available_isas()) {
            if (name == wanted) {
                return 1;
            }
        }
        return 77;
    }
}
