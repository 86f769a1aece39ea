// Plans that outlive the call that made them.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <utility>

namespace starskope::detail {

// Plans in use of late, newest first, shared between threads. A Planner is made of both lengths and holds its `grid`.
template <class Planner, std::size_t kept>
class RecentPlans {
  public:
    using Grid = std::shared_ptr<const decltype(Planner::grid)>;

    Grid of(std::size_t n_time, std::size_t n_fft) {
        if (Grid known = find(n_time, n_fft)) {
            return known;
        }
        // Outside the lock: two threads may make the same plan, and either will do.
        const auto planner = std::make_shared<const Planner>(n_time, n_fft);
        Grid grid(planner, &planner->grid);
        add(n_time, n_fft, grid);
        return grid;
    }

  private:
    struct Entry {
        std::size_t n_time, n_fft;
        Grid grid;
    };

    Grid find(std::size_t n_time, std::size_t n_fft) {
        const std::lock_guard lock(mutex_);
        for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
            if (entry->n_time == n_time && entry->n_fft == n_fft) {
                entries_.splice(entries_.begin(), entries_, entry);
                return entry->grid;
            }
        }
        return nullptr;
    }

    void add(std::size_t n_time, std::size_t n_fft, Grid grid) {
        const std::lock_guard lock(mutex_);
        entries_.push_front({n_time, n_fft, std::move(grid)});
        if (entries_.size() > kept) {
            entries_.pop_back();
        }
    }

    std::mutex mutex_;
    std::list<Entry> entries_;
};

} // namespace starskope::detail
