// folding.h - what follows a product row by row, as one factor and one shift a row.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "tersenet/runtime/aligned.h"
#include "tersenet/runtime/plan.h"

namespace tersenet {

// Empty: 1, or 0.
struct Folded {
  AlignedVector<float> scale, shift;

  size_t bytes() const { return scale.size_bytes() + shift.size_bytes(); }
};

// The bias and the batch norm, or multiplication and addition, that the step took in, for products of `rows` rows.
Folded fold_rows(const Step& step, const std::vector<float>& bias, uint64_t rows, const std::function<std::vector<float>(const Node::Slot&)>& floats);

inline AlignedVector<float> aligned(const std::vector<float>& from) {
  AlignedVector<float> made(from.size());
  std::copy(from.begin(), from.end(), made.begin());
  return made;
}

}  // namespace tersenet
