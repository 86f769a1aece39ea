#include "starskope/isa.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "config.hpp"
#include "dispatch.hpp"

#define STARSKOPE_DECLARE(variant)                                                                                     \
    namespace variant {                                                                                                \
    extern const Kernels kernels;                                                                                      \
    }

namespace starskope {
namespace detail {

STARSKOPE_FOR_EACH_VARIANT(STARSKOPE_DECLARE)

namespace {

bool cpu_runs(const std::string& name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    return name == "v2" ? v2 : name == "v3" ? v3 : name == "v4" ? v4 : false;
#else
    return name == "baseline";
#endif
}

std::vector<const Kernels*> runnable() {
    std::vector<const Kernels*> found;
    for (const Kernels* kernels : {
#define STARSKOPE_ADDRESS(variant) &variant::kernels,
             STARSKOPE_FOR_EACH_VARIANT(STARSKOPE_ADDRESS)}) {
        if (cpu_runs(kernels->name)) {
            found.push_back(kernels);
        }
    }
    return found;
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) {
        text += (text.empty() ? "" : ", ") + name;
    }
    return text.empty() ? "none" : text;
}

const Kernels* find(const std::string& name, const char* origin) {
    for (const Kernels* kernels : runnable()) {
        if (kernels->name == name) {
            return kernels;
        }
    }
    throw std::invalid_argument(std::string(origin) + "=" + name + ": this build and CPU have " +
                                joined(available_isas()) + "; choose one of these or leave it unset");
}

const Kernels* choose() {
    const char* wanted = std::getenv("STARSKOPE_ISA");
    if (wanted != nullptr && *wanted != '\0') {
        return find(wanted, "STARSKOPE_ISA");
    }
    const auto found = runnable();
    if (found.empty()) {
        throw std::runtime_error("this CPU lacks x86-64-v2 (SSE4.2, POPCNT), the least that starskope needs");
    }
    return found.back();
}

std::atomic<const Kernels*> chosen{nullptr};

} // namespace

const Kernels& active() {
    const Kernels* kernels = chosen.load(std::memory_order_acquire);
    if (kernels == nullptr) {
        kernels = choose();
        chosen.store(kernels, std::memory_order_release);
    }
    return *kernels;
}

} // namespace detail

std::string isa() {
    return detail::active().name;
}

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const auto* kernels : detail::runnable()) {
        names.emplace_back(kernels->name);
    }
    return names;
}

void use_isa(const std::string& name) {
    detail::chosen.store(detail::find(name, "isa"), std::memory_order_release);
}

BuildInfo build_info() {
    return {STARSKOPE_VERSION, STARSKOPE_COMPILER, STARSKOPE_BUILD_TYPE, STARSKOPE_KERNEL_FLAGS, STARSKOPE_ISAS};
}

} // namespace starskope
