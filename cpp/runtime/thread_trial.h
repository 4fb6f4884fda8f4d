// thread_trial.h - whether a network is faster on all threads of its pool or on the caller alone, found out on its first
// runs: layers of some microseconds wait longer for each other's results than they save. Answers are the same.
#pragma once

#include <algorithm>
#include <chrono>
#include <limits>

#include "tersenet/runtime/pool.h"

namespace tersenet {

class ThreadTrial {
 public:
  // Runs `body`, on all threads and alone in turns until it is known which takes less.
  template <class Body>
  void run(Pool& pool, const Body& body) {
    if (runs_ >= kRuns || pool.threads() == 1) return body();
    const int alone = runs_ % 2;
    pool.stay_alone(alone);
    const Clock::time_point start = Clock::now();
    body();
    const double took = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    if (runs_ >= kCold) best_us_[alone] = std::min(best_us_[alone], took);
    ++runs_;
    const bool is_long = !alone && runs_ > kCold && took > kLongUs;
    if (is_long) runs_ = kRuns;
    if (runs_ == kRuns) pool.stay_alone(!is_long && best_us_[1] < best_us_[0]);
  }

  // Another batch: all threads, and a new trial.
  void begin(Pool& pool) {
    *this = ThreadTrial();
    pool.stay_alone(false);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kCold = 2, kRuns = 12;
  static constexpr double kLongUs = 5000;  // from which on threads are always worth their while
  int runs_ = 0;
  double best_us_[2] = {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
};

}  // namespace tersenet
