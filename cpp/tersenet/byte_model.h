// byte_model.h - bytes predicted from the bytes before them and range coded (docs/notes/packed.md; in the line of PAQ).
//
//   pack_bytes     what says how a network is stored, to fewer bytes
//   unpack_bytes   the inverse, of bytes from anyone
//
// READ FIRST
//   1. A byte is eight decisions, its highest bit first. Each view of the bytes before has a counter for each decision; their
//      guesses are mixed by weights, one set for each number of views that have met this context before.
//   2. Both sides first go through kPrimer, for which nothing is sent: what an op list looks like is known before the first byte.
//   3. Counters, tables and the code are those of range.h; all of it is integers.
#pragma once

#include "tersenet/byte_primer.h"
#include "tersenet/range.h"

namespace tersenet {

constexpr int kViews = 9, kViewOffsets = 4;
// How far back the bytes of each view lie; 0 for none.
constexpr uint8_t kBack[kViews][kViewOffsets] = {{0}, {1}, {1, 2}, {1, 2, 3}, {2, 3}, {2, 3, 4}, {1, 3, 4}, {4, 5}, {5, 6}};
constexpr int kMixByteRate = 14;              // weights move by error * stretch / 2^rate
constexpr int32_t kFirstByteWeight = 20000;   // of 65,536
constexpr int kLeastSlots = 12, kMostSlots = 18;   // logarithms of the counters of a view
constexpr int kByteLog2 = 16;                 // a byte is eight decisions of more than 2^-16 bits

class ByteModel {
 public:
  // n   bytes that will come, for the size of the tables alone
  explicit ByteModel(uint64_t n)
      : shift_(32 - std::max(kLeastSlots, std::min(kMostSlots, bit_length(16 * (n + sizeof kPrimer))))),
        counters_(size_t(kViews) << (32 - shift_)),
        weights_(size_t(kViews + 1) * kViews, kFirstByteWeight) {}

  // The next byte, by `decide(bit, p)`, which codes a bit with the probability p of 65,536 of a one, or reads it.
  template <class Decide>
  uint8_t byte(uint8_t want, const Decide& decide) {
    int known = 0;
    for (int v = 0; v < kViews; ++v) {
      uint32_t hash = uint32_t(v) + 1;
      for (int i = 0; i < kViewOffsets && kBack[v][i]; ++i) hash = (hash + before(kBack[v][i]) + 1) * 0x2545f491u;
      hash_[v] = hash;
      known += counter(v, 1).used > 0;
    }
    int32_t* const mix = weights_.data() + known * kViews;
    uint32_t node = 1;
    for (int left = 7; left >= 0; --left) {
      RangeCounter* asked[kViews];
      int32_t stretch[kViews];
      int64_t sum = 0;
      for (int v = 0; v < kViews; ++v) {
        asked[v] = &counter(v, node);
        stretch[v] = tables_.stretch[asked[v]->p >> 4];
        sum += int64_t(mix[v]) * stretch[v];
      }
      const int64_t x = std::max<int64_t>(-kMaxStretch, std::min<int64_t>(kMaxStretch, sum >> 16));
      const uint32_t p = tables_.squash[x + kMaxStretch];
      const uint32_t bit = decide(want >> left & 1, p);
      const int32_t error = int32_t(bit << 16) - int32_t(p);
      for (int v = 0; v < kViews; ++v) {
        const int32_t weight = mix[v] + ((stretch[v] * error + (1 << (kMixByteRate - 1))) >> kMixByteRate);
        mix[v] = std::max(-kMaxWeight, std::min(kMaxWeight, weight));
        asked[v]->update(bit, tables_, kFastCount);
      }
      node = node << 1 | bit;
    }
    history_ = history_ << 8 | uint8_t(node);
    return uint8_t(node);
  }

  void learn(const uint8_t* data, size_t n) {
    for (size_t i = 0; i < n; ++i) byte(data[i], [](uint32_t bit, uint32_t) { return bit; });
  }

 private:
  const RangeTables& tables_ = RangeTables::get();
  int shift_;
  std::vector<RangeCounter> counters_;
  std::vector<int32_t> weights_;
  uint32_t hash_[kViews] = {};
  uint64_t history_ = 0;   // the last eight bytes; zeros before the first

  uint32_t before(int back) const { return history_ >> 8 * (back - 1) & 255; }

  RangeCounter& counter(int view, uint32_t node) {
    const uint32_t slot = (hash_[view] + node * 0x9e3779b1u) * 0x85ebca6bu >> shift_;
    return counters_[(size_t(view) << (32 - shift_)) + slot];
  }
};

inline std::vector<uint8_t> pack_bytes(const uint8_t* data, size_t n) {
  if (n == 0) return {};
  ByteModel model(n);
  model.learn(kPrimer, sizeof kPrimer);
  RangeWriter out({});
  for (size_t i = 0; i < n; ++i) model.byte(data[i], [&](uint32_t bit, uint32_t p) { return out(bit, p); });
  out.finish();
  return std::move(out.bytes);
}

// The n bytes that `size` bytes stand for; the caller has compared n with what it may allocate.
inline std::vector<uint8_t> unpack_bytes(const uint8_t* data, size_t size, uint64_t n) {
  if (n == 0) {
    if (size) refuse(str(size) + " bytes came for no bytes; expected none");
    return {};
  }
  if (n > size << kByteLog2) refuse(str(size) + " bytes cannot hold " + str(n) + " bytes");
  ByteModel model(n);
  model.learn(kPrimer, sizeof kPrimer);
  std::vector<uint8_t> out(n);
  RangeReader in(data, data + size);
  for (uint8_t& byte : out) byte = model.byte(0, [&](uint32_t bit, uint32_t p) { return in(bit, p); });
  in.expect_end();
  return out;
}

}  // namespace tersenet
