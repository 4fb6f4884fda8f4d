// kmeans1d.h - k-means on a line: the optimum, and Lloyd's algorithm.
//
//   values    n >= 1 finite floats
//   weights   n positive doubles, at most 1, or null: each 1
//   k         at least 1
//
// optimum   the global minimum of sum w (v - c)^2 over k centroids: exact (to double rounding) up to
//           kMaxDistinct different values, else exact for the histogram and then two exact sweeps over
//           the values. Ascending; fewer than k where there are fewer points than k.
// lloyd     from given centroids to a fixed point or `iterations` steps; exact up to kMaxSorted values
//           or kMaxDistinct different ones, else on the histogram with two exact sweeps at the end.
//           Ascending; empty clusters keep their centroid.
//
// READ FIRST
//   1. Clusters of an optimum are runs of the sorted points, so a clustering is a path 0 = b_0 < ... <
//      b_k = N whose edge (i, j) costs the spread of points i .. j-1 around their mean.
//   2. That cost is Monge: cost(a, c) + cost(b, d) <= cost(a, d) + cost(b, c) for a <= b <= c <= d. So
//      (i) the best last edge moves right with the end, (ii) the least cost is convex in the number of
//      edges, and a price per edge finds every k (Aggarwal, Schieber, Tokuyama 1994). Time O(N log N)
//      a price, memory independent of k.
//   3. A spread is never the difference of two large sums; see SpreadTable.
//   The derivation is in docs/notes/kmeans.md, with the same letters.
#pragma once

#include "tersenet/kmeans1d_points.h"

namespace tersenet {

constexpr size_t kMaxSorted = size_t(1) << 22;   // 64 MiB of points
constexpr int kFinalSweeps = 2;

// The spread sum w (x - mean)^2 of any run of points, in O(1) and without cancellation.
//
// Row l has, for each position p, the moments of the run between p and the middle of p's block of
// 2^(l+1) positions: before the middle it runs from p up to it, after the middle from it through p. The
// first and the last position of a run differ in a highest bit l: there the run is two such pieces,
// merged as in Chan et al. 1979.
class SpreadTable {
 public:
  explicit SpreadTable(const Points& points) : n_(points.size()) {
    for (size_t half = 1; half < n_; half *= 2) {
      std::vector<Moments> row(n_);
      for (size_t middle = half; middle < n_; middle += 2 * half) {
        Moments run{};
        for (size_t p = middle; p-- > middle - half;) row[p] = run = add(run, points, p);
        run = {};
        for (size_t p = middle; p < std::min(middle + half, n_); ++p) row[p] = run = add(run, points, p);
      }
      rows_.push_back(std::move(row));
    }
  }

  // Of the points i .. j-1, i < j <= N.
  double operator()(size_t i, size_t j) const {
    const size_t last = j - 1;
    if (i == last) return 0;
    size_t level = 0;
#if defined(__GNUC__)
    level = size_t(63 - __builtin_clzll(static_cast<unsigned long long>(i ^ last)));
#else
    for (size_t bits = i ^ last; bits > 1; bits >>= 1) ++level;
#endif
    const Moments& a = rows_[level][i];
    const Moments& b = rows_[level][last];
    const double apart = b.mean - a.mean;
    return a.spread + b.spread + apart * apart * (a.weight * (b.weight / (a.weight + b.weight)));
  }

 private:
  struct Moments {
    double weight, mean, spread;
  };
  static Moments add(const Moments& run, const Points& points, size_t p) {
    const double w = points.weight[p], total = run.weight + w, apart = points.mean[p] - run.mean;
    if (run.weight == 0) return {w, points.mean[p], 0};
    return {total, run.mean + apart * (w / total), run.spread + apart * apart * (run.weight * (w / total))};
  }

  size_t n_;
  std::vector<std::vector<Moments>> rows_;
};

// The cheapest path from 0 to N when every edge costs its spread and a price.
class PricedPath {
 public:
  explicit PricedPath(const Points& points)
      : spread_(points), n_(points.size()), total_(n_ + 1), from_(n_ + 1) {}

  // The path's stops, 0 and N among them.
  std::vector<uint32_t> stops(double price) {
    // rule[h], rule[h+1], ...: who is the best origin, from which end on. Origins and ends both ascend.
    std::vector<Rule> rule{{0, 1}};
    rule.reserve(n_ + 1);
    size_t h = 0;
    total_[0] = 0;
    for (size_t end = 1; end <= n_; ++end) {
      while (h + 1 < rule.size() && rule[h + 1].first_end <= end) ++h;
      from_[end] = rule[h].origin;
      total_[end] = via(rule[h].origin, end) + price;
      if (end < n_) admit(rule, h, end);
    }
    std::vector<uint32_t> path;
    for (size_t at = n_; at > 0; at = from_[at]) path.push_back(uint32_t(at));
    path.push_back(0);
    std::reverse(path.begin(), path.end());
    return path;
  }

  double spread(size_t i, size_t j) const { return spread_(i, j); }

 private:
  struct Rule {
    uint32_t origin;
    size_t first_end;
  };
  double via(size_t origin, size_t end) const { return total_[origin] + spread_(origin, end); }

  // Enters `origin` where it beats the rules so far; where it does, it does for all later ends.
  void admit(std::vector<Rule>& rule, size_t h, size_t origin) const {
    const auto beats = [&](const Rule& old, size_t end) { return via(origin, end) < via(old.origin, end); };
    while (rule.size() > h + 1 && beats(rule.back(), std::max(rule.back().first_end, origin + 1)))
      rule.pop_back();
    const Rule& old = rule.back();
    size_t loses = std::max(old.first_end, origin + 1);   // the first end at which it may still lose
    if (beats(old, loses)) {   // only where `old` is the rule in force
      rule.push_back({uint32_t(origin), loses});
      return;
    }
    size_t leap = 1;   // the crossing is seldom far: gallop, then halve
    while (loses + leap <= n_ && !beats(old, loses + leap)) {
      loses += leap;
      leap *= 2;
    }
    size_t wins = std::min(loses + leap, n_ + 1);
    while (wins - loses > 1) {
      const size_t middle = loses + (wins - loses) / 2;
      (beats(old, middle) ? wins : loses) = middle;
    }
    if (wins <= n_) rule.push_back({uint32_t(origin), wins});
  }

  SpreadTable spread_;
  size_t n_;
  std::vector<double> total_;
  std::vector<uint32_t> from_;
};

// A path of exactly k edges out of one with fewer and one with more, both cheapest at one price: walk the
// short one until its next edge covers an edge of the long one that is d places ahead, and cross over
// there. By the Monge property what is crossed costs no more than what it replaces.
inline std::vector<uint32_t> cross(const std::vector<uint32_t>& few, const std::vector<uint32_t>& many,
                                   size_t k) {
  const size_t d = many.size() - 1 - k;
  size_t i = 0;
  while (few[i + 1] < many[i + 1 + d]) ++i;
  std::vector<uint32_t> path(few.begin(), few.begin() + i + 1);
  path.insert(path.end(), many.begin() + i + 1 + d, many.end());
  return path;
}

// The cheapest path of k edges, or of N if that is less, and a price that finds it: about what one edge
// more or less would change.
struct Path {
  std::vector<uint32_t> stops;
  double price;
};

inline Path cheapest_path(const Points& points, size_t k) {
  const size_t n = points.size();
  std::vector<uint32_t> few{0, uint32_t(n)};
  std::vector<uint32_t> many(n + 1);
  std::iota(many.begin(), many.end(), 0u);
  if (k >= n) return {many, 0};

  PricedPath paths(points);
  double high = paths.spread(0, n);   // one edge is cheapest at this price,
  double low = 0;                     // and N edges at this one
  const double wanted = double(k);
  double price = 2 * high / (wanted * wanted * wanted);   // right for a uniform density
  if (k == 1) return {few, high};
  // The number of edges falls about as price^(-1/3): a few guesses by that rule, then halving over the
  // bits of a double, whose order is that of the positive numbers, so at most 63 times.
  for (int round = 0;; ++round) {
    if (round >= 12 || !(price > low && price < high)) {
      uint64_t a, b;
      std::memcpy(&a, &low, sizeof a);
      std::memcpy(&b, &high, sizeof b);
      if (b - a <= 1) return {cross(few, many, k), high};
      const uint64_t middle = a + (b - a) / 2;
      std::memcpy(&price, &middle, sizeof price);
    }
    std::vector<uint32_t> path = paths.stops(price);
    const double edges = double(path.size() - 1);
    if (edges == wanted) return {path, price};
    if (edges > wanted) {
      low = price;
      many = std::move(path);
    } else {
      high = price;
      few = std::move(path);
    }
    const double ratio = edges / wanted;
    price *= ratio * ratio * ratio;
  }
}

struct Clustered {
  Points points;
  Path path;
  bool exact;   // whether the points are the values
};

// Points for k clusters, with their optimum. The linear histogram serves if the spread that any bin can
// hide, weight * width^2 / 4, is small beside what one cluster is worth; else bins are too wide.
inline Clustered clustered(const float* values, const double* weights, size_t n, size_t k) {
  constexpr double kSmall = 1.0 / 64;
  Points points;
  if (distinct(values, weights, n, std::min(n, kMaxDistinct), points)) {
    Path path = cheapest_path(points, k);
    return {std::move(points), std::move(path), true};
  }
  double width;
  points = linear_histogram(values, weights, n, width);
  Path path = cheapest_path(points, k);
  const double heaviest = *std::max_element(points.weight.begin(), points.weight.end());
  if (heaviest * width * width / 4 > kSmall * path.price) {
    points = sampled_histogram(values, weights, n);
    path = cheapest_path(points, k);
  }
  return {std::move(points), std::move(path), false};
}

inline std::vector<float> optimum(const float* values, const double* weights, size_t n, size_t k) {
  const auto [points, path, exact] = clustered(values, weights, n, k);
  std::vector<float> centroids;
  for (size_t c = 0; c + 1 < path.stops.size(); ++c) {
    double weight = 0, sum = 0;
    const double base = points.mean[path.stops[c]];   // sums of distances keep the digits of far-off values
    for (size_t p = path.stops[c]; p < path.stops[c + 1]; ++p) {
      weight += points.weight[p];
      sum += points.weight[p] * (points.mean[p] - base);
    }
    centroids.push_back(float(base + sum / weight));
  }
  for (int sweep = 0; !exact && sweep < kFinalSweeps; ++sweep) lloyd_sweep(values, weights, n, centroids);
  return centroids;
}

// Sums of any run of numbers in O(64 log N), by adding only: no prefix to cancel against.
class RunSums {
 public:
  explicit RunSums(std::vector<double> terms) {
    levels_.push_back(std::move(terms));
    while (levels_.back().size() > 2 * kFan) {
      const std::vector<double>& below = levels_.back();
      std::vector<double> above(below.size() / kFan);   // a last, short group is never asked for
      for (size_t g = 0; g < above.size(); ++g)
        for (size_t p = g * kFan; p < (g + 1) * kFan; ++p) above[g] += below[p];
      levels_.push_back(std::move(above));
    }
  }
  double operator()(size_t i, size_t j) const {
    double sum = 0;
    for (size_t level = 0;; ++level) {
      const std::vector<double>& row = levels_[level];
      if (j - i <= 2 * kFan) {
        for (; i < j; ++i) sum += row[i];
        return sum;
      }
      for (; i % kFan; ++i) sum += row[i];
      for (; j % kFan; --j) sum += row[j - 1];
      i /= kFan;
      j /= kFan;
    }
  }

 private:
  static constexpr size_t kFan = 64;
  std::vector<std::vector<double>> levels_;
};

// centroids ascend, and still do when it returns: the mean of a cluster lies between its thresholds.
inline void lloyd(const float* values, const double* weights, size_t n, size_t iterations,
                  std::vector<float>& centroids) {
  const size_t k = centroids.size();
  Clustered all{{}, {}, true};
  if (n <= kMaxSorted) all.points = sorted(values, weights, n);
  else all = clustered(values, weights, n, k);
  const Points& points = all.points;
  std::vector<double> moment(points.size());
  for (size_t p = 0; p < points.size(); ++p) moment[p] = points.weight[p] * points.mean[p];
  const RunSums weight(points.weight), sum(std::move(moment));
  std::vector<size_t> stops, before;
  for (size_t step = 0; step < iterations; ++step) {
    stops.assign(1, 0);
    const auto first = points.mean.begin(), end = points.mean.end();
    for (const float t : thresholds_of(centroids.data(), k))
      stops.push_back(size_t(std::upper_bound(first, end, double(t)) - first));
    stops.push_back(points.size());
    if (stops == before) break;
    before = stops;
    for (size_t c = 0; c < k; ++c)
      if (stops[c] < stops[c + 1])
        centroids[c] = float(sum(stops[c], stops[c + 1]) / weight(stops[c], stops[c + 1]));
  }
  for (size_t sweep = 0; !all.exact && sweep < std::min<size_t>(iterations, kFinalSweeps); ++sweep)
    lloyd_sweep(values, weights, n, centroids);
}

}  // namespace tersenet
