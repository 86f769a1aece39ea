// Threads that come to help with the tiles of a computation that goes from phase to phase. Private to the entry points.
//
// One leads, any number helps: whoever is there takes the next tile. The leader never waits for somebody who is not
// there, so it matters to nobody when helpers come, or whether they do; and tiles do not know who computes them, so the
// result does not either. Nothing here makes a thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "dispatch.hpp"

namespace starskope::detail {

class Crew {
  public:
    // Calls f(tile) for every tile below n_tile (at most 2^20 - 1) and returns when all are done. f throws nothing.
    template <class F>
    void run(std::size_t n_tile, const F& f) {
        call_ = [](const void* context, std::size_t tile) { (*static_cast<const F*>(context))(tile); };
        context_ = &f;
        n_done_.store(0, std::memory_order_relaxed);
        ticket_.store(std::uint64_t(n_tile) << 20, std::memory_order_release);
        take_tiles();
        for (unsigned n = 0; n_done_.load(std::memory_order_acquire) < n_tile; ++n) {
            rest(n);
        }
    }

    // Takes tiles of whatever runs, until released.
    void help() {
        n_helper_.fetch_add(1, std::memory_order_relaxed);
        for (unsigned n = 0; !released_.load(std::memory_order_acquire); ++n) {
            n = take_tiles() ? 0 : n;
            rest(n);
        }
        n_helper_.fetch_sub(1, std::memory_order_relaxed);
    }

    // Who is there now, the leader included: a hint.
    std::size_t size() const { return 1 + n_helper_.load(std::memory_order_relaxed); }

    void admit() { released_.store(false, std::memory_order_release); }
    void release() { released_.store(true, std::memory_order_release); }

  private:
    // Lower 20 bits: the next tile; the 20 above: how many there are.
    std::atomic<std::uint64_t> ticket_{0};
    std::atomic<std::size_t> n_done_{0};
    std::atomic<bool> released_{true};
    std::atomic<std::size_t> n_helper_{0};
    void (*call_)(const void*, std::size_t) = nullptr;
    const void* context_ = nullptr;

    static bool open(std::uint64_t ticket) { return (ticket & 0xFFFFF) < (ticket >> 20); }

    bool take_tiles() {
        bool took = false;
        // Looking first keeps the lower bits from running over while helpers wait.
        while (open(ticket_.load(std::memory_order_acquire))) {
            const std::uint64_t ticket = ticket_.fetch_add(1, std::memory_order_acq_rel);
            if (!open(ticket)) {
                break;
            }
            call_(context_, std::size_t(ticket & 0xFFFFF));
            n_done_.fetch_add(1, std::memory_order_release);
            took = true;
        }
        return took;
    }

    // Waits last microseconds as long as every thread has a core; else the core goes to who has work.
    static void rest(unsigned n) {
        if (n > 2000) {
            std::this_thread::yield();
            return;
        }
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }
};

} // namespace starskope::detail
