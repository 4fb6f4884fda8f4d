// int8_linear.h - what the linear layers on eight-bit integers share, and the files that make them.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "int8_weight.h"
#include "tersenet/kernels/int8_batch.h"
#include "tersenet/kernels/wsell8.h"

namespace tersenet {

inline uint32_t quads_of(uint32_t cols) { return (cols + 3) / 4; }

// Bytes of a vector, with as many behind it as a window needs; what they hold is multiplied by weights of 0.
inline size_t vector_step(uint32_t cols) { return (size_t(cols) + kWsell8Window + 63) / 64 * 64; }

// A vector as bytes, vector_step of them.
inline Int8Range vector_bytes(const Int8Kernels& kernels, const std::optional<Int8Range>& fixed, const float* x, uint32_t cols, uint8_t* to) {
  const Int8Range range = example_range(kernels, x, cols, fixed);
  kernels.bytes(x, cols, range, to);
  std::fill(to + cols, to + vector_step(cols), uint8_t(0));
  return range;
}

// The vectors of a batch as bytes, vector_step apart, behind their ranges.
struct Vectors {
  const Int8Range* range;
  const uint8_t* bytes;

  Vectors(const Int8Kernels& kernels, const std::optional<Int8Range>& fixed, const float* x, size_t batch, uint32_t cols, Pool& pool);
};

class Int8Linear : public LinearKernel {
 public:
  Int8Linear(const Matrix& weight, const std::string& name, const Int8Kernels& kernels, const std::optional<Int8Range>& range)
      : name_(name), kernels_(kernels), range_(range), weight_(int8_weight(weight)), rows_(weight.rows), cols_(weight.cols) {}

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override { return packed_bytes() + rows_ * (sizeof(float) + sizeof(int32_t)); }

 protected:
  std::string name_;
  Int8Kernels kernels_;
  std::optional<Int8Range> range_;
  Int8Weight weight_;
  uint32_t rows_, cols_;

  virtual size_t packed_bytes() const = 0;

  // Blocks of `rows` rows, quad by quad, row by row, four columns each.
  AlignedVector<int8_t> dense_blocks(const Matrix& weight, uint32_t rows) const;
};

// Each appends what fits the matrix.
void add_wsell8(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_spmm8(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_tiles8(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_gemm8(const Matrix& weight, const KernelRequest& request, LinearKernels& found);

}  // namespace tersenet
