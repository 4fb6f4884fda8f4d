// code_lengths.h - optimal length-limited prefix codes, and their canonical code words.
//
//   counts   ascending, at least 2 of them, each >= 1, their sum n at most 2^40
//   limit    at least ceil(log2(number of counts)), at most 16
//
// The weights on one level sum to at most n times the number of levels below it and itself,
// so to at most 2^40 * 16: no sum overflows 64 bits.
#pragma once

#include <cstdint>
#include <vector>

namespace tersenet {

// Package-merge (Larmore and Hirschberg 1990). A count goes before an equal package, so the
// result is the same on every machine.
inline std::vector<int> code_lengths(const std::vector<uint64_t>& counts, int limit) {
  const size_t used = counts.size();
  std::vector<std::vector<bool>> is_count(limit);
  std::vector<uint64_t> merged, packages;
  for (int level = 0; level < limit; ++level) {
    packages.clear();
    for (size_t i = 0; i + 1 < merged.size(); i += 2) packages.push_back(merged[i] + merged[i + 1]);
    merged.clear();
    auto& flags = is_count[level];
    size_t a = 0, b = 0;
    while (a < used || b < packages.size()) {
      const bool take_count = a < used && (b == packages.size() || counts[a] <= packages[b]);
      merged.push_back(take_count ? counts[a++] : packages[b++]);
      flags.push_back(take_count);
    }
  }
  std::vector<int> lengths(used, 0);
  size_t take = 2 * (used - 1);
  for (int level = limit - 1; level >= 0; --level) {
    size_t leaves = 0;
    for (size_t i = 0; i < take; ++i) leaves += is_count[level][i];
    for (size_t i = 0; i < leaves; ++i) ++lengths[i];
    take = 2 * (take - leaves);
  }
  return lengths;
}

}  // namespace tersenet
