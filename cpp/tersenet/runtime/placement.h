// placement.h - where each value of a network lies while it runs, for one batch: in the caller's inputs, in a stored
// parameter, or in one block shared by values whose lives do not overlap.
//
// READ FIRST
//   1. The output of an alias lies where its input lies.
//   2. What is put together by `cat` is made where it belongs, if nothing stands before the axis but sizes of 1: such a
//      step has nothing left to do.
#pragma once

#include <cstdint>
#include <vector>

#include "tersenet/runtime/plan.h"

namespace tersenet {

struct Place {
  enum Kind : uint8_t { block, input, parameter } kind = block;
  uint64_t at = 0;  // offset in bytes, or the number of the input or parameter
};

struct Placement {
  std::vector<Place> values;
  std::vector<bool> done;  // by step: whether its output is complete once its inputs are
  uint64_t block_bytes = 0;
};

// `specs` are those of the values at `batch`. `runs_at` says by step where it runs: there, or inside a later one, which
// alone reads its output; that has no place. Refuses a block above `limit` bytes.
Placement place_values(const Graph& graph, const Plan& plan, const std::vector<size_t>& runs_at, const std::vector<Spec>& specs, uint64_t batch, uint64_t limit);

}  // namespace tersenet
