// layer.h - what a kernel for a linear layer or a convolution offers to the plan.
//
// A family of kernels (add_sparse_kernels, add_dense_kernels) looks at a Matrix and makes every run form that fits it; the
// plan times them on this machine and keeps the fastest. A run form holds its own packed copy of the weight: the
// Matrix is gone by the time it runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tersenet/cpu.h"
#include "tersenet/kernels/int8.h"
#include "tersenet/runtime/layer_epilogue.h"
#include "tersenet/runtime/matrix.h"
#include "tersenet/runtime/pool.h"

namespace tersenet {

// Arithmetic is float32, but for the kernels of add_int8_kernels (kernels/int8.h).
// y[b][r] = finish(r, sum over c of W[r][c] x[b][c]); x is (batch, cols), y is (batch, rows), both contiguous.
class LinearKernel {
 public:
  virtual ~LinearKernel() = default;
  virtual const char* name() const = 0;  // such as "wsell48/avx512"
  virtual size_t bytes() const = 0;      // what the run form keeps in memory
  virtual void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const = 0;
};

// The geometry of a 2-D convolution; 1-D ones have height 1. All sizes positive, checked, products below 2^31.
struct ConvShape {
  uint32_t in_channels, out_channels, groups;
  uint32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  uint32_t pad_top, pad_left, pad_bottom, pad_right;  // zeros around the input
  uint32_t in_h, in_w, out_h, out_w;
};

// The weight is a Matrix of (out_channels, in_channels / groups * kernel_h * kernel_w), as PyTorch flattens it.
// x is (batch, in_channels, in_h, in_w), y is (batch, out_channels, out_h, out_w), both contiguous.
class ConvKernel {
 public:
  virtual ~ConvKernel() = default;
  virtual const char* name() const = 0;
  virtual size_t bytes() const = 0;
  virtual void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const = 0;

  // Some output channels of one image, for kernels that can (conv_pair.h): bytes of scratch memory it takes, 0 where they
  // cannot. x is what those channels read: the whole image, or where there are as many groups as channels, theirs. y and the
  // residual are those of `first`, a multiple of kPartRows.
  virtual size_t part_scratch() const { return 0; }
  virtual void run_part(const float* x, uint32_t first, uint32_t count, const Epilogue& epilogue, float* y, void* scratch) const { (void)x, (void)first, (void)count, (void)epilogue, (void)y, (void)scratch; }
  static constexpr uint32_t kPartRows = 6;
};

using LinearKernels = std::vector<std::unique_ptr<LinearKernel>>;
using ConvKernels = std::vector<std::unique_ptr<ConvKernel>>;

// Each family of kernels appends what fits this matrix to `found`, for the request's column; none is a legal answer.
// `wanted` names the one kernel to make; where it is empty all are. `dense` fits everything, so that there is always one.
// `range` is how inputs become bytes where that is fixed; else each example has its own.
// `signs` says that inputs are -1, 0 or 1.
struct KernelRequest {
  Cpu cpu = Cpu::scalar;
  std::string wanted;
  std::optional<Int8Range> range = {};
  bool signs = false;
  Pool* pool = nullptr;  // that packs side by side, and will run; null: one thread does
  size_t batch = 0;      // that kernels are chosen for; 0: any

  bool wants(const std::string& name) const { return wanted.empty() || wanted == name; }
};

void add_dense_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_dense_kernels(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found);
void add_sparse_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_sparse_kernels(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found);
void add_binary_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_codes_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_codes_kernels(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found);
void add_int8_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_int8_kernels(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found);

}  // namespace tersenet
