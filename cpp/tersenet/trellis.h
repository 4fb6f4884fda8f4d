// trellis.h - trellis-coded quantisation (Marcellin and Fischer 1990; docs/notes/trellis.md).
//
//   Trellis         which integers may come next
//   follows         whether integers are a path through it
//   PathSearch      the path that numbers are nearest to, the price of its bits counted (Viterbi)
//
// READ FIRST
//   1. In an even state an integer is even, in an odd one odd or 0. Of magnitudes that a state allows the k-th, 0 being
//      the 0-th, is 2 k in an even state and 2 k - 1 in an odd one; whether k is odd decides the next state.
//   2. The states are those of Ungerboeck's 1982 codes for amplitudes: a systematic encoder with feedback, whose lowest
//      bit is the state's parity.
//   3. Integers go in runs of equal length. Each begins in state 0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace tersenet {

constexpr int kLeastStates = 2, kMostStates = 8;  // logarithms of their number

class Trellis {
 public:
  // Logarithm 0 is a single state, which stays.
  explicit Trellis(int log2_states) : feedback_(kFeedback[log2_states] >> 1), input_(kInput[log2_states] >> 1) {}

  uint32_t next(uint32_t state, uint32_t k) const {
    return (state >> 1) ^ (state & 1 ? feedback_ : 0) ^ (k & 1 ? input_ : 0);
  }

  uint32_t after(uint32_t state, uint32_t value, uint32_t centre) const {
    const uint32_t far = value > centre ? value - centre : centre - value;
    return next(state, (far + (state & 1)) >> 1);
  }

 private:
  // Parity-check polynomials h0 and h1 of Ungerboeck 1982, table I, for 4 to 256 states.
  static constexpr uint32_t kFeedback[] = {0, 0, 05, 013, 023, 045, 0103, 0235, 0515};
  static constexpr uint32_t kInput[] = {0, 0, 02, 04, 04, 010, 024, 0126, 0362};
  uint32_t feedback_, input_;
};

// Whether values minus `centre` go through the trellis in runs of `run`. Stops at the first that does not.
template <class T>
bool follows(const Trellis& trellis, const T* values, uint64_t n, uint64_t run, uint32_t centre) {
  for (uint64_t start = 0; start < n; start += run) {
    uint32_t state = 0;
    for (uint64_t i = start; i < start + run; ++i) {
      if (values[i] != centre && ((values[i] ^ centre ^ state) & 1)) return false;
      state = trellis.after(state, values[i], centre);
    }
  }
  return true;
}

// Bits of a magnitude by the state's parity, the class of its row and column, and k, up to `count` - 1 and beyond.
struct TrellisPrices {
  const double* bits;
  size_t row_classes, column_classes, count;
  const int64_t *row, *column;

  double at(uint32_t odd, size_t r, size_t c, uint64_t k) const {
    const size_t place = (odd * row_classes + size_t(row[r])) * column_classes + size_t(column[c]);
    return bits[place * count + (k < count ? k : count - 1)];
  }
};

// The best path for the numbers of a column, in units of the integers' step.
class PathSearch {
 public:
  PathSearch(int log2_states, size_t rows, const TrellisPrices& prices)
      : trellis_(log2_states), states_(uint32_t(1) << log2_states), rows_(rows), prices_(prices), branches_(rows),
        came_(rows * states_), cost_(states_), reached_(states_) {}

  // Least is the sum over rows of weight * error^2 + price * bits. `odd` is the parity of the state that each integer was
  // chosen in.
  void column(const double* values, double weight, double price, size_t column, int64_t* levels, uint8_t* odd) {
    cost_.assign(states_, kNever);
    cost_[0] = 0;
    for (size_t r = 0; r < rows_; ++r) {
      for (uint32_t branch = 0; branch < 4; ++branch) {
        branches_[r][branch] = best(std::fabs(values[r]), branch >> 1, branch & 1, weight, price, r, column);
      }
      reached_.assign(states_, kNever);
      for (uint32_t state = 0; state < states_; ++state) {
        for (uint32_t parity = 0; parity < 2; ++parity) {
          const uint32_t to = trellis_.next(state, parity);
          const double cost = cost_[state] + branches_[r][(state & 1) << 1 | parity].cost;
          if (cost < reached_[to]) {
            reached_[to] = cost;
            came_[r * states_ + to] = uint16_t(state << 1 | parity);
          }
        }
      }
      cost_.swap(reached_);
    }
    uint32_t state = uint32_t(std::min_element(cost_.begin(), cost_.end()) - cost_.begin());
    for (size_t r = rows_; r-- > 0;) {
      const uint32_t from = came_[r * states_ + state];
      state = from >> 1;
      const int64_t far = branches_[r][(state & 1) << 1 | (from & 1)].far;
      levels[r] = values[r] < 0 ? -far : far;
      odd[r] = uint8_t(state & 1);
    }
  }

 private:
  struct Branch {
    double cost;
    int64_t far;
  };
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  Trellis trellis_;
  uint32_t states_;
  size_t rows_;
  TrellisPrices prices_;
  std::vector<std::array<Branch, 4>> branches_;  // by parity of the state, and of the magnitude's number
  std::vector<uint16_t> came_;                   // the state before, and whether the magnitude's number was odd
  std::vector<double> cost_, reached_;

  // Of the magnitudes whose number has this parity: the nearest, the one before it, and the least.
  Branch best(double size, uint32_t odd, int64_t parity, double weight, double price, size_t row, size_t column) const {
    const int64_t nearest = 2 * int64_t(std::nearbyint(((size + odd) / 2 - double(parity)) / 2)) + parity;
    Branch found{kNever, 0};
    for (const int64_t k : {nearest, nearest - 2, parity}) {
      if (k < 0) continue;
      const int64_t far = k ? 2 * k - int64_t(odd) : 0;
      const double miss = size - double(far);
      const double cost = weight * miss * miss + (price > 0 ? price * prices_.at(odd, row, column, uint64_t(k)) : 0);
      if (cost < found.cost) found = {cost, far};
    }
    return found;
  }
};

}  // namespace tersenet
