// int8_batch.h - linear layers on eight-bit integers that take 64 vectors of a batch at once, as a panel (kernels/int8.h).
//
// Rows fall into parts, so that the sums of one stay in the second cache and threads share out parts and panels.
#pragma once

#include "int8_linear.h"

namespace tersenet {

class BatchLinear8 : public Int8Linear {
 public:
  // Parts are multiples of `block` rows.
  BatchLinear8(const Matrix& weight, const std::string& name, const KernelRequest& request, uint32_t block);

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override;

 protected:
  const uint32_t part_;  // rows of a part

  // acc of rows from .. to - 1, kPanel apart: from is a multiple of a part, to is another one or rows_.
  virtual void multiply(uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc) const = 0;

 private:
  Int8BatchKernels batch_;

  // Columns of a panel from `first` on, kInt8Side of them or as many as there are.
  void fill(const float* x, size_t batch, size_t first, Int8Range* range, uint8_t* panel, Pool& pool, int worker) const;
};

}  // namespace tersenet
