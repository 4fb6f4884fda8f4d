// kmeans1d_points.h - many floats as few weighted points on a line, ascending.
//
//   values    n >= 1 finite floats, any order
//   weights   n positive doubles, or null: each 1
//
// distinct()            one point for each different value, if there are at most `limit`; exact
// sorted()              one point for each value; exact
// linear_histogram(),   one point for each non-empty bin: its weight and its mean. The spread within a bin
// sampled_histogram()   is the same for every clustering that does not cut it, so only cut bins matter.
#pragma once

#include <cstring>
#include <numeric>
#include <utility>

#include "tersenet/kmeans1d_assign.h"

namespace tersenet {

struct Points {
  std::vector<double> weight, mean;
  size_t size() const { return mean.size(); }
};

// Up to this many different values the answer is exact; beyond, a histogram stands for them.
constexpr size_t kMaxDistinct = 65536;

// False as soon as more than `limit` different values are seen. -0.0 and 0.0 are one value, 0.0.
inline bool distinct(const float* values, const double* weights, size_t n, size_t limit, Points& out) {
  size_t slots = 16;   // a power of two, at most half full
  while (slots < 2 * limit) slots *= 2;
  int shift = 64;
  for (size_t s = slots; s > 1; s /= 2) --shift;
  constexpr uint32_t kEmpty = 0xffffffff;   // the bits of a NaN, so of no value
  std::vector<uint32_t> keys(slots, kEmpty);
  std::vector<double> weight(slots);
  size_t found = 0;
  for (size_t i = 0; i < n; ++i) {
    const float v = values[i] + 0.0f;
    uint32_t key;
    std::memcpy(&key, &v, sizeof key);
    size_t slot = size_t((key * uint64_t{0x9e3779b97f4a7c15}) >> shift);   // 2^64 / golden ratio
    while (keys[slot] != key && keys[slot] != kEmpty) slot = (slot + 1) & (slots - 1);
    if (keys[slot] == kEmpty) {
      if (found == limit) return false;
      keys[slot] = key;
      ++found;
    }
    weight[slot] += weights ? weights[i] : 1.0;
  }
  std::vector<std::pair<float, double>> pairs;
  pairs.reserve(found);
  for (size_t slot = 0; slot < slots; ++slot) {
    if (keys[slot] == kEmpty) continue;
    float v;
    std::memcpy(&v, &keys[slot], sizeof v);
    pairs.emplace_back(v, weight[slot]);
  }
  std::sort(pairs.begin(), pairs.end());
  out = {};
  for (const auto& [v, w] : pairs) {
    out.mean.push_back(v);
    out.weight.push_back(w);
  }
  return true;
}

inline Points sorted(const float* values, const double* weights, size_t n) {
  Points out;
  if (!weights) {
    std::vector<float> v(values, values + n);
    std::sort(v.begin(), v.end());
    out.mean.assign(v.begin(), v.end());
    out.weight.assign(n, 1.0);
    return out;
  }
  std::vector<std::pair<float, double>> pairs(n);
  for (size_t i = 0; i < n; ++i) pairs[i] = {values[i], weights[i]};
  std::sort(pairs.begin(), pairs.end());
  out.mean.reserve(n);
  out.weight.reserve(n);
  for (const auto& [v, w] : pairs) {
    out.mean.push_back(v);
    out.weight.push_back(w);
  }
  return out;
}

// The least and the largest value. 16 lanes, since only so may a compiler vectorise it.
inline std::pair<float, float> range(const float* values, size_t n) {
  constexpr size_t kLanes = 16;
  float low[kLanes], high[kLanes];
  std::fill(low, low + kLanes, values[0]);
  std::fill(high, high + kLanes, values[0]);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t l = 0; l < kLanes; ++l) {
      const float v = values[i + l];
      low[l] = v < low[l] ? v : low[l];
      high[l] = v > high[l] ? v : high[l];
    }
  }
  for (; i < n; ++i) {
    low[0] = std::min(low[0], values[i]);
    high[0] = std::max(high[0], values[i]);
  }
  return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

// A bin's weight and sum side by side: one cache line for each value.
struct Cell {
  double weight = 0, sum = 0;
};

inline Points filled(const std::vector<Cell>& cells) {
  Points out;
  for (const Cell& cell : cells) {
    if (!(cell.weight > 0)) continue;
    out.weight.push_back(cell.weight);
    out.mean.push_back(cell.sum / cell.weight);
  }
  return out;
}

constexpr size_t kLinearBins = 65536, kSampledEdges = 32768;

// Equal bins from the least to the largest value, which must differ. `width` is a bin's.
inline Points linear_histogram(const float* values, const double* weights, size_t n, double& width) {
  const auto [low, high] = range(values, n);
  width = (double(high) - double(low)) / double(kLinearBins);
  const double first = low, scale = double(kLinearBins) / (double(high) - double(low));
  std::vector<Cell> cells(kLinearBins);
  const auto count = [&](auto weight_of) {
    for (size_t i = 0; i < n; ++i) {
      const double v = values[i];
      Cell& cell = cells[std::min(size_t(int64_t((v - first) * scale)), kLinearBins - 1)];
      cell.weight += weight_of(i);
      cell.sum += weight_of(i) * v;
    }
  };
  if (weights) count([weights](size_t i) { return weights[i]; });
  else count([](size_t) { return 1.0; });
  return filled(cells);
}

// The same edges and those of a sample: no bin is wide, and none is heavy, whatever one outlier does to
// the range. Eight times slower, so only where needed.
inline Points sampled_histogram(const float* values, const double* weights, size_t n) {
  const auto [low, high] = range(values, n);
  const double first = low, width = (double(high) - first) / double(kLinearBins);
  std::vector<float> edges;
  edges.reserve(kLinearBins + kSampledEdges);
  for (size_t i = 1; i < kLinearBins; ++i) edges.push_back(float(first + double(i) * width));
  for (uint64_t i = 0; i < kSampledEdges; ++i) {
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15;   // splitmix64 (Steele et al. 2014): fixed positions that
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;    // no period in the values can follow
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    edges.push_back(values[(z ^ (z >> 31)) % n]);
  }
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());

  const Buckets buckets(std::move(edges));
  std::vector<Cell> cells(buckets.size());
  buckets.each(values, n, [&](size_t i, uint32_t b) {
    const double w = weights ? weights[i] : 1.0;
    cells[b].weight += w;
    cells[b].sum += w * double(values[i]);
  });
  return filled(cells);
}

}  // namespace tersenet
