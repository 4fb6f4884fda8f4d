// range_model.h - what the range coder believes before each decision (docs/notes/range.md; in the line of PAQ).
//
//   begin    before a value: which counters it will meet, from the values around it
//   predict  the probability of a one, of 65,536, always 1 to 65,535
//   update   what came: moves the six counters that were asked, and the weights that mixed them
//   end      after a value: moves the running means
//
// READ FIRST
//   1. A counter is found by what surrounds the value (six views of it) and by the node, which is the decisions
//      already taken for this value.
//   2. Stretch is the logarithm of the odds in units of log(257 / 256), up to kMaxStretch either way; squash undoes it.
//   3. Everything is integers from tables that integer formulas give, so every machine believes the same.
//   4. Nothing overflows: |weight| <= 2^20 and |stretch| <= 2816 < 2^12, so six products stay below 2^35 in 64 bits;
//      |error| < 2^16, so stretch * error stays below 2^28 in 32.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tersenet/bits.h"

namespace tersenet {

constexpr int kMaxStretch = 2816;     // odds of about 58,000 to 1
constexpr int kMixInputs = 6;
constexpr int kMixRow = 8;            // weights of one set, padded
constexpr int kMixSets = 64;
constexpr int32_t kFirstWeight = 12000;   // of 65,536: six equal guesses become one that is a little bolder
constexpr int32_t kMaxWeight = 1 << 20;
constexpr int kShortNodes = 64;
constexpr uint32_t kLevels = 12, kMeanLevels = 40, kSides = 3;
constexpr uint32_t kSlowCount = 1023, kFastCount = 255;   // the two speeds: a step of 1/1024.5 and 1/256.5 at last

// The tables, from formulas that any implementation can repeat.
struct RangeTables {
  uint16_t squash[2 * kMaxStretch + 1];   // stretch + kMaxStretch -> probability of 65,536
  int16_t stretch[4096];                  // top 12 bits of a probability -> stretch
  uint16_t rate[kSlowCount + 1];          // of 65,536: how far a counter moves, by how often it moved
  uint8_t level[256];                     // a magnitude -> 0 to 11
  uint8_t mean_level[4096];               // a running mean of magnitudes in 1/16 -> 0 to 39

  RangeTables() {
    const uint64_t one = uint64_t(1) << 30;
    uint64_t odds = one;  // reaches 2^46: times 2^16 it fits
    for (int x = 0; x <= kMaxStretch; ++x, odds = odds * 257 >> 8) {
      const uint32_t p = uint32_t((odds << 16) / (odds + one));
      squash[kMaxStretch + x] = uint16_t(p);
      squash[kMaxStretch - x] = uint16_t(65536 - p);
    }
    int x = -kMaxStretch;
    for (int p = 0; p < 4096; ++p) {
      while (x < kMaxStretch && squash[kMaxStretch + x + 1] <= 16 * p + 8) ++x;
      stretch[p] = int16_t(x);
    }
    for (uint32_t n = 0; n <= kSlowCount; ++n) rate[n] = uint16_t((1 << 17) / (2 * n + 3));
    for (uint32_t m = 0; m < 256; ++m) level[m] = uint8_t(std::min(kLevels - 1, steps(m, 1)));
    for (uint32_t m = 0; m < 4096; ++m) mean_level[m] = uint8_t(std::min(kMeanLevels - 1, steps(m, 2)));
  }

  // A logarithm in 2^bits steps an octave; below 2^bits the number itself.
  static uint32_t steps(uint32_t m, int bits) {
    const int drop = bit_length(m) - 1 - bits;
    return drop <= 0 ? m : (uint32_t(drop) << bits) + (m >> drop);
  }

  static const RangeTables& get() {
    static const RangeTables tables;
    return tables;
  }
};

// How far from the centre, at most 255; wide alphabets in steps that leave 9 bits.
struct Magnitude {
  uint32_t centre;
  int scale;

  Magnitude(uint32_t of, uint32_t alphabet) : centre(of), scale(std::max(0, bit_length(alphabet - 1) - 9)) {}

  uint32_t operator()(uint32_t value) const {
    return std::min<uint32_t>((value > centre ? value - centre : centre - value) >> scale, 255);
  }
};

struct RangeCounter {
  uint16_t p = 1 << 15, used = 0;

  // What came; after `limit` of them it moves no more slowly.
  void update(uint32_t bit, const RangeTables& tables, uint32_t limit) {
    const uint32_t flip = bit ? 0xffff : 0;  // 65,535 - p and p change places
    const uint32_t from = p ^ flip;
    p = uint16_t((from - (from * tables.rate[used] >> 16)) ^ flip);
    used = uint16_t(used + (used < limit));
  }
};

// What a payload says about itself before the coded values.
struct RangeHead {
  int mode = 1;               // 0 one symbol, 1 tree, 2 ordered
  bool differences = false;   // what is coded is v[i] - v[i - 1] + alphabet / 2, modulo the alphabet
  int rate = 15;              // weights move by error * stretch / 2^rate
  uint32_t centre = 0;        // the value that the first decision is about
  uint32_t period = 1;        // values a period before and at the same place of it are alike; 1 to 64
  uint64_t row = 0;           // and those a row before; 0 for none
  int states = 0;             // values minus the centre go through a trellis of 2^states states; 0 for none
  uint64_t run = 0;           // in runs of so many
};

class RangeModel {
 public:
  RangeModel(const RangeHead& head, uint32_t alphabet)
      : magnitude_(head.centre, alphabet), period_(head.period), rate_(head.rate) {
    const uint32_t contexts[kMixInputs] = {0, kLevels * kLevels * kSides, kMeanLevels * kSides, kMeanLevels * (kMeanLevels / 4),
                                           kMeanLevels * period_, kLevels * kLevels * kSides};
    counters_[0].resize(full_nodes(head.mode, alphabet));
    for (int i = 1; i < kMixInputs; ++i) counters_[i].resize(size_t(contexts[i]) * kShortNodes);
    weights_.assign(kMixSets * kMixRow, kFirstWeight);
    columns_.resize(size_t(head.row));
  }

  // Nodes that no other context shares: in a tree all of it; in order the classes and all mantissas on both sides.
  static size_t full_nodes(int mode, uint32_t alphabet) {
    const int width = bit_length(alphabet - 1);
    return mode == 1 ? size_t(1) << width : 34 + (size_t(2) << width);
  }

  // The two values before, the one a period before and the one a row before; the centre where there is none.
  void begin(uint32_t before, uint32_t second, uint32_t in_period, uint32_t above) {
    const uint32_t row = mean_level(row_mean_), local = mean_level(local_mean_);
    const uint32_t column = columns_.empty() ? 0 : mean_level(columns_[column_]);
    const uint32_t context[kMixInputs] = {
        0,
        (level(before) * kLevels + level(second)) * kSides + side(before),
        column * kSides + side(above),
        row * (kMeanLevels / 4) + column / 4,
        local * period_ + phase_,
        (level(above) * kLevels + level(in_period)) * kSides + side(in_period),
    };
    for (int i = 0; i < kMixInputs; ++i) view_[i] = counters_[i].data() + size_t(context[i]) * kShortNodes;
  }

  // full     node in the view that has one counter for each, below full_nodes
  // node     node in the other five, below kShortNodes
  // set      which weights mix, below kMixSets
  uint32_t predict(uint32_t full, uint32_t node, uint32_t set) {
    mix_ = weights_.data() + set * kMixRow;
    int64_t sum = 0;
    for (int i = 0; i < kMixInputs; ++i) {
      asked_[i] = view_[i] + (i ? node : full);
      stretch_[i] = tables_.stretch[asked_[i]->p >> 4];
      sum += int64_t(mix_[i]) * stretch_[i];
    }
    const int64_t x = std::max<int64_t>(-kMaxStretch, std::min<int64_t>(kMaxStretch, sum >> 16));
    return p_ = tables_.squash[x + kMaxStretch];
  }

  void update(uint32_t bit) {
    const int32_t error = int32_t(bit << 16) - int32_t(p_);
    for (int i = 0; i < kMixInputs; ++i) {
      const int32_t weight = mix_[i] + ((stretch_[i] * error + (1 << (rate_ - 1))) >> rate_);
      mix_[i] = std::max(-kMaxWeight, std::min(kMaxWeight, weight));
      asked_[i]->update(bit, tables_, i < 2 ? kSlowCount : kFastCount);
    }
  }

  // Means are of magnitudes, in 1/256: below 2^16.
  void end(uint32_t value) {
    const uint32_t m = magnitude_(value) << 8;
    row_mean_ = row_mean_ - (row_mean_ >> 5) + (m >> 5);
    local_mean_ = local_mean_ - (local_mean_ >> 2) + (m >> 2);
    if (++phase_ == period_) phase_ = 0;
    if (columns_.empty()) return;
    uint16_t& mean = columns_[column_];
    mean = uint16_t(mean - (mean >> column_rate_) + (m >> column_rate_));
    if (++column_ < columns_.size()) return;
    column_ = 0;  // the first rows weigh 1/2, 1/4, 1/4, then 1/8 four times, then 1/16
    column_rate_ = std::min(4, bit_length(++rows_ + 1));
  }

 private:
  const RangeTables& tables_ = RangeTables::get();
  Magnitude magnitude_;
  uint32_t period_;
  int rate_;
  std::vector<RangeCounter> counters_[kMixInputs];
  std::vector<int32_t> weights_;
  std::vector<uint16_t> columns_;
  RangeCounter *view_[kMixInputs], *asked_[kMixInputs];
  int32_t stretch_[kMixInputs], *mix_;
  uint32_t p_ = 0, row_mean_ = 0, local_mean_ = 0, phase_ = 0;
  uint64_t rows_ = 0;
  size_t column_ = 0;
  int column_rate_ = 1;

  uint32_t level(uint32_t value) const { return tables_.level[magnitude_(value)]; }
  uint32_t mean_level(uint32_t mean) const { return tables_.mean_level[mean >> 4]; }
  uint32_t side(uint32_t value) const { return value > magnitude_.centre ? 2 : value < magnitude_.centre ? 0 : 1; }
};

}  // namespace tersenet
