// Executes one instruction of x86-64-v3. An emulator that lets this pass shows nothing about x86-64-v2.
#include <cstdio>

int main() {
    int value = 7;
    __asm__ volatile("vmovd %0, %%xmm0\n\tvpbroadcastd %%xmm0, %%ymm0\n\tvmovd %%xmm0, %0" : "+r"(value) : : "xmm0");
    std::printf("%d\n", value);
    return value == 7 ? 0 : 1;
}
