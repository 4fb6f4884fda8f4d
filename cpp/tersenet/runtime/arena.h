// arena.h - where each value lives while a network runs: offsets into one block, shared by values whose lives do
// not overlap.
//
//   place(size)    a 64-byte aligned offset for a value that is born now
//   free(offset)   its life is over
//   peak()         what the block must hold
//
// Best fit among the gaps, neighbours joined again: logarithmic in the number of gaps.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "tersenet/runtime/aligned.h"

namespace tersenet {

class Arena {
 public:
  // The caller compares peak() with its limit after each call, so that sums of sizes up to 2^51 stay inside 64 bits.
  uint64_t place(uint64_t size) {
    size = (size + kAlign) / kAlign * kAlign + kAlign;  // room for a vector load behind the last element
    const auto fit = by_size_.lower_bound({size, 0});
    uint64_t offset;
    if (fit != by_size_.end()) {
      offset = fit->second;
      const uint64_t gap = fit->first;
      remove(offset, gap);
      if (gap > size) insert(offset + size, gap - size);
    } else {
      offset = end_;
      const auto last = gaps_.empty() ? gaps_.end() : std::prev(gaps_.end());
      if (last != gaps_.end() && last->first + last->second == end_) {
        offset = last->first;
        remove(last->first, last->second);
      }
      end_ = offset + size;
    }
    held_[offset] = size;
    return offset;
  }

  void free(uint64_t offset) {
    uint64_t size = held_.at(offset);
    held_.erase(offset);
    auto next = gaps_.lower_bound(offset);
    if (next != gaps_.end() && next->first == offset + size) {
      const uint64_t more = next->second;
      remove(next->first, more);
      size += more;
    }
    next = gaps_.lower_bound(offset);
    if (next != gaps_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == offset) {
        offset = before->first;
        const uint64_t more = before->second;
        remove(offset, more);
        size += more;
      }
    }
    insert(offset, size);
  }

  uint64_t peak() const { return end_; }

 private:
  uint64_t end_ = 0;
  std::map<uint64_t, uint64_t> gaps_;                 // offset to size
  std::set<std::pair<uint64_t, uint64_t>> by_size_;   // the same as (size, offset)
  std::unordered_map<uint64_t, uint64_t> held_;

  void insert(uint64_t offset, uint64_t size) {
    gaps_[offset] = size;
    by_size_.insert({size, offset});
  }

  void remove(uint64_t offset, uint64_t size) {
    gaps_.erase(offset);
    by_size_.erase({size, offset});
  }
};

}  // namespace tersenet
