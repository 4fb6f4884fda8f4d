// int8_weight.h - a matrix as eight-bit integers and steps (kernels/int8.h), the same whichever kernel multiplies by it.
//
//   one step for all rows where at most kInt8Shared values are shared, else one step a row
//   w = step * i8 exactly (to float32's rounding) where the values lie on such a grid, as those of `uniform`, `binary`
//   and `ternary` do; otherwise the nearest of 127 equal steps to the largest magnitude and their opposites
#pragma once

#include <cstdint>
#include <vector>

#include "tersenet/kernels/int8_batch.h"
#include "tersenet/runtime/layer.h"

namespace tersenet {

constexpr size_t kInt8Shared = 63;

Int8Kernels int8_kernels(Cpu cpu);
Int8BatchKernels int8_batch_kernels(Cpu cpu);

struct Int8Weight {
  std::vector<int8_t> codebook;  // of the matrix' shared values; empty where each row has a step
  std::vector<float> step;       // one a row
  std::vector<int32_t> sum;      // of the integers of each row

  int8_t level(const Matrix& weight, size_t entry, uint32_t row) const;
};

// How one example becomes bytes: as it is fixed, or by its own range; one with NaN or Inf in it answers NaN either way.
inline Int8Range example_range(const Int8Kernels& kernels, const float* x, size_t n, const std::optional<Int8Range>& fixed) {
  float low, high;
  const bool finite = kernels.range(x, n, &low, &high);
  return fixed && finite ? *fixed : int8_range(low, high, finite);
}

// Not finite: refused by `fits`, since an integer cannot say it.
bool fits_int8(const Matrix& weight);
Int8Weight int8_weight(const Matrix& weight);

}  // namespace tersenet
