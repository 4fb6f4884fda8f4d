// kmeans1d_assign.h - the nearest of k sorted centroids for each of n floats, exactly.
//
//   values      n finite floats, any order
//   centroids   k finite floats, ascending, k >= 1; duplicates are allowed
//
// A value belongs to the nearest centroid, at a tie to the lower one, among equal ones to the first.
//
// READ FIRST
//   1. Centroid i holds the values in (t[i-1], t[i]]. t[i] is the largest float that is no nearer to
//      c[i+1] than to c[i], found in exact arithmetic; so one float comparison decides, and the index of
//      v is the number of thresholds below v.
//   2. The table of starts is a guess that is never too high: the bin of v does not fall when v rises,
//      so a threshold in an earlier bin than v's lies below v. A walk or a binary search ends it.
//   3. Sums run over the values in their order, in double, on one thread: same input, same bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace tersenet {

// The largest float t with 2 t <= low + high in real numbers, for low < high. The sum of two floats may
// need more than 53 bits; TwoSum (Knuth, TAOCP 2, 4.2.2) gives what double rounding took.
inline float threshold_between(float low, float high) {
  const double a = low, b = high, sum = a + b, b_seen = sum - a;
  const double lost = (a - (sum - b_seen)) + (b - b_seen);
  const auto fits = [&](float t) {
    const double twice = 2.0 * double(t);
    return twice < sum || (twice == sum && lost >= 0);
  };
  constexpr float kInf = std::numeric_limits<float>::infinity();
  float t = float(0.5 * sum);   // rounded: at most one float away
  while (!fits(t)) t = std::nextafter(t, -kInf);
  for (float up = std::nextafter(t, kInf); fits(up); up = std::nextafter(t, kInf)) t = up;
  return t;
}

// k - 1 thresholds, never falling. Equal centroids share the last one's, so that the first takes all.
inline std::vector<float> thresholds_of(const float* centroids, size_t k) {
  std::vector<float> t(k - 1);
  for (size_t i = k - 1; i-- > 0;) {
    if (centroids[i] < centroids[i + 1]) t[i] = threshold_between(centroids[i], centroids[i + 1]);
    else t[i] = i + 2 < k ? t[i + 1] : std::numeric_limits<float>::infinity();
  }
  return t;
}

// Counts the thresholds below a value: a table over equal bins, then a walk.
class Buckets {
 public:
  explicit Buckets(std::vector<float> thresholds) : t_(std::move(thresholds)), count_(t_.size()) {
    size_t finite = count_;
    while (finite > 0 && !std::isfinite(t_[finite - 1])) --finite;
    bins_ = kMinBins;
    while (bins_ < kBinsPerThreshold * count_ && bins_ < kMaxBins) bins_ *= 2;
    if (finite > 0 && t_[finite - 1] > t_[0]) {
      low_ = t_[0];
      scale_ = double(bins_) / (double(t_[finite - 1]) - low_);
    }
    start_.assign(bins_ + 1, 0);
    for (size_t i = 0; i < count_; ++i) ++start_[bin(t_[i]) + 1];
    uint32_t most = 0;
    for (size_t b = 0; b < bins_; ++b) {
      most = std::max(most, start_[b + 1]);
      start_[b + 1] += start_[b];
    }
    crowded_ = most > kLongestWalk;
    t_.push_back(std::numeric_limits<float>::infinity());   // ends every walk
  }

  size_t size() const { return count_ + 1; }

  // take(position, bucket) for each value in its order.
  template <class Take>
  void each(const float* values, size_t n, Take take) const {
    if (crowded_) {
      for (size_t i = 0; i < n; ++i) take(i, search(values[i]));
    } else {
      for (size_t i = 0; i < n; ++i) take(i, walk(values[i]));
    }
  }

 private:
  // 16 bins a threshold: a value seldom shares its bin with one, so the walk's branch is predicted.
  static constexpr size_t kBinsPerThreshold = 16;
  static constexpr size_t kMinBins = size_t(1) << 12;   // 16 KiB of starts: half of an L1 cache
  static constexpr size_t kMaxBins = size_t(1) << 18;   // 1 MiB: an L2 cache
  static constexpr uint32_t kLongestWalk = 8;

  size_t bin(float v) const {
    const double x = (double(v) - low_) * scale_;   // +inf, the sentinel's, goes to the last bin
    const double last = double(bins_ - 1);
    return size_t(int64_t(x > 0 ? (x < last ? x : last) : 0));
  }
  uint32_t walk(float v) const {
    uint32_t i = start_[bin(v)];
    while (t_[i] < v) ++i;
    return i;
  }
  uint32_t search(float v) const {
    const size_t b = bin(v);
    return uint32_t(std::lower_bound(t_.begin() + start_[b], t_.begin() + start_[b + 1], v) - t_.begin());
  }

  std::vector<float> t_;
  size_t count_, bins_ = kMinBins;
  double low_ = 0, scale_ = 0;
  std::vector<uint32_t> start_;
  bool crowded_ = false;
};

// Index must hold k - 1.
template <class Index>
void assign(const float* values, size_t n, const float* centroids, size_t k, Index* out) {
  const Buckets buckets(thresholds_of(centroids, k));
  buckets.each(values, n, [out](size_t i, uint32_t bucket) { out[i] = Index(bucket); });
}

// One step of Lloyd's algorithm over all values; an empty cluster keeps its centroid.
inline void lloyd_sweep(const float* values, const double* weights, size_t n, std::vector<float>& centroids) {
  const Buckets buckets(thresholds_of(centroids.data(), centroids.size()));
  std::vector<double> weight(centroids.size()), sum(centroids.size());
  buckets.each(values, n, [&](size_t i, uint32_t c) {
    const double w = weights ? weights[i] : 1.0;
    weight[c] += w;
    sum[c] += w * double(values[i]);
  });
  for (size_t c = 0; c < centroids.size(); ++c)
    if (weight[c] > 0) centroids[c] = float(sum[c] / weight[c]);
}

}  // namespace tersenet
