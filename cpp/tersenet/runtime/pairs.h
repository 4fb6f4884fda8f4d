// pairs.h - which convolutions run inside another (conv_pair.h), by their places in a plan.
#pragma once

#include <functional>
#include <vector>

#include "tersenet/runtime/graph.h"
#include "tersenet/runtime/plan.h"

namespace tersenet {

struct Pairs {
  std::vector<size_t> runs_at;  // by step: itself, or the one that it runs inside
  std::vector<size_t> feeder;   // by step: the one that runs inside it, or itself
};

// Convolutions that are read by one other alone, where `fit` says that the first of the two steps can run inside the second.
Pairs find_pairs(const Graph& graph, const Plan& plan, const std::function<bool(size_t, size_t)>& fit);

}  // namespace tersenet
