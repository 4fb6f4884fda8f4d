// rules.h - what the tables of operations share.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "tersenet/runtime/operation.h"

namespace tersenet {

using Rules = std::vector<Rule>;
using Outputs = std::vector<Tensor*>;

void add_elementwise_rules(Rules& rules);
void add_broadcast_rules(Rules& rules);
void add_pool_rules(Rules& rules);
void add_norm_rules(Rules& rules);
void add_reduce_rules(Rules& rules);
void add_view_rules(Rules& rules);
void add_join_rules(Rules& rules);
void add_matmul_rules(Rules& rules);
void add_transposed_conv_rules(Rules& rules);

inline void need(const Node& node, bool fits, const std::string& sentence) {
  if (!fits) refuse(node.op->name + ": " + sentence);
}

inline uint64_t numel(const Spec& spec) { return checked_numel(spec.shape); }

inline void need_float(const Node& node, const Specs& inputs) {
  for (const Spec* input : inputs) need(node, !input || input->dtype == Dtype::kFloat32, "takes floats only");
}

// The product of the sizes in [from, to).
inline uint64_t span(const Dims& shape, int from, int to) {
  uint64_t product = 1;
  for (int i = from; i < to; ++i) product *= shape.size[i];
  return product;
}

// Body(from, to) over [0, count) in pieces, on all threads where there is enough to do.
template <class Body>
void in_pieces(Pool& pool, uint64_t count, uint64_t piece, const Body& body) {
  const uint64_t pieces = (count + piece - 1) / piece;
  pool.run(size_t(pieces), [&](size_t chunk, int) { body(chunk * piece, std::min<uint64_t>(count, (chunk + 1) * piece)); });
}

// A list argument of `count` entries, or one for all; empty lists take `fallback`.
inline std::vector<int64_t> spread(const Node& node, const char* name, size_t count, const std::vector<int64_t>& fallback = {}) {
  std::vector<int64_t> ints = node.ints(name);
  if (ints.empty()) ints = fallback;
  if (ints.size() == 1) ints.assign(count, ints[0]);
  need(node, ints.size() == count, std::string(name) + " has " + str(ints.size()) + " entries; expected " + str(count));
  for (int64_t one : ints) need(node, one >= 0 && one < int64_t(1) << 31, std::string(name) + " of " + std::to_string(one));
  return ints;
}

}  // namespace tersenet
