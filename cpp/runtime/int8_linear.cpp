// Dense eight-bit weights times one vector at a time, and the list of linear layers on eight-bit integers.
#include "int8_linear.h"

#include <algorithm>

#include "tersenet/runtime/choose.h"

namespace tersenet {

Vectors::Vectors(const Int8Kernels& kernels, const std::optional<Int8Range>& fixed, const float* x, size_t batch, uint32_t cols, Pool& pool) {
  constexpr size_t kWorthThreads = 75000;  // values: about 15 us of one thread
  const size_t step = vector_step(cols), head = (batch * sizeof(Int8Range) + 63) / 64 * 64;
  uint8_t* memory = static_cast<uint8_t*>(pool.shared(head + batch * step));
  Int8Range* ranges = reinterpret_cast<Int8Range*>(memory);
  range = ranges;
  bytes = memory + head;
  pool.run(batch, [&](size_t b, int) { ranges[b] = vector_bytes(kernels, fixed, x + b * cols, cols, memory + head + b * step); }, batch * cols > kWorthThreads);
}

AlignedVector<int8_t> Int8Linear::dense_blocks(const Matrix& weight, uint32_t rows) const {
  const uint32_t quads = quads_of(cols_);
  AlignedVector<int8_t> packed(size_t((rows_ + rows - 1) / rows) * rows * quads * 4);
  const auto put = [&](uint32_t r, uint32_t c, size_t entry) {
    packed[((size_t(r / rows) * quads + c / 4) * rows + r % rows) * 4 + c % 4] = weight_.level(weight, entry, r);
  };
  for (uint32_t r = 0; r < rows_; ++r) {
    if (weight.sparse) {
      for (uint32_t e = weight.row_start[r]; e < weight.row_start[r + 1]; ++e) put(r, weight.col[e], e);
    } else {
      for (uint32_t c = 0; c < cols_; ++c) put(r, c, size_t(r) * cols_ + c);
    }
  }
  return packed;
}

namespace {

constexpr size_t kWorthThreads = 600000;  // multiplications: about 15 us of one thread

class VectorLinear : public Int8Linear {
 public:
  VectorLinear(const Matrix& weight, const std::string& name, const Int8Kernels& kernels, const std::optional<Int8Range>& range)
      : Int8Linear(weight, name, kernels, range), packed_(dense_blocks(weight, kInt8Rows)) {}

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const Vectors vectors(kernels_, range_, x, batch, cols_, pool);
    const size_t blocks = (rows_ + kInt8Rows - 1) / kInt8Rows, quads = quads_of(cols_);
    pool.run(blocks, [&](size_t block, int) {
      int32_t sums[kInt8Rows];
      const uint32_t first = uint32_t(block) * kInt8Rows, end = std::min(rows_, first + kInt8Rows);
      for (size_t b = 0; b < batch; ++b) {
        kernels_.vector(packed_.data() + block * quads * 4 * kInt8Rows, quads, vectors.bytes + b * vector_step(cols_), sums);
        for (uint32_t r = first; r < end; ++r) {
          const size_t at = b * rows_ + r;
          const float acc = int8_scalar::answer(sums[r - first], r, vectors.range[b], weight_.step.data(), weight_.sum.data());
          y[at] = finish(epilogue, r, acc, epilogue.residual ? epilogue.residual[at] : 0.0f);
        }
      }
    }, size_t(rows_) * cols_ * batch > kWorthThreads);
  }

 private:
  AlignedVector<int8_t> packed_;

  size_t packed_bytes() const override { return packed_.size_bytes(); }
};

}  // namespace

void add_int8_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  if (!fits_int8(weight)) return;
  if (weight.sparse) {
    add_wsell8(weight, request, found);
    if (request.batch != 1 || !request.wanted.empty()) {
      add_spmm8(weight, request, found);
      add_tiles8(weight, request, found);
    }
    if (uint64_t(weight.rows) * weight.cols > kDenseFree) return;  // dense, it would take more memory than the file promises
  }
  const Int8Kernels kernels = int8_kernels(request.cpu);
  const std::string vector = std::string("gemv8/") + kernels.column;
  if (request.wants(vector)) found.push_back(std::make_unique<VectorLinear>(weight, vector, kernels, request.range));
  add_gemm8(weight, request, found);
}

}  // namespace tersenet
