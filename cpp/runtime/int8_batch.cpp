#include "int8_batch.h"

#include <algorithm>
#include <numeric>

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 600000;  // multiplications, were it dense: about 15 us of one thread
constexpr size_t kMostPanels = 8;         // in memory at once
constexpr uint32_t kMostRows = 1024;      // of a part: 256 KB of sums

size_t padded_quads(uint32_t cols) { return (size_t(quads_of(cols)) + kInt8Side - 1) / kInt8Side * kInt8Side; }

// Rows of a part, a multiple of `block` and of what `answers` reads: as many as keep the sums in the second cache, since the panel
// is read once for each, and few enough for threads to share out.
uint32_t part_of(uint32_t rows, uint32_t block, int threads) {
  const uint32_t each = std::lcm(block, uint32_t(kInt8Side)), wanted = threads > 1 ? rows / (4 * uint32_t(threads)) : rows;
  return std::max(1u, std::min(kMostRows, wanted) / each) * each;
}

// A dense matrix, kPanelRows rows at a time.
class PanelLinear8 : public BatchLinear8 {
 public:
  PanelLinear8(const Matrix& weight, const std::string& name, const KernelRequest& request) : BatchLinear8(weight, name, request, kPanelRows), packed_(dense_blocks(weight, kPanelRows)) {}

 private:
  AlignedVector<int8_t> packed_;

  size_t packed_bytes() const override { return packed_.size_bytes(); }
  void multiply(uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc) const override {
    const size_t quads = quads_of(cols_);
    for (uint32_t row = from; row < to; row += kPanelRows, acc += kPanelRows * kPanel) {
      kernels_.panel(packed_.data() + row * quads * 4, int(std::min<uint32_t>(kPanelRows, to - row)), quads, panel, width, acc, true);
    }
  }
};

}  // namespace

BatchLinear8::BatchLinear8(const Matrix& weight, const std::string& name, const KernelRequest& request, uint32_t block)
    : Int8Linear(weight, name, int8_kernels(request.cpu), request.range), part_(part_of(weight.rows, block, request.pool ? request.pool->threads() : 1)), batch_(int8_batch_kernels(request.cpu)) {}

void BatchLinear8::run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const {
  const size_t panel_bytes = padded_quads(cols_) * 4 * kPanel, parts = (rows_ + part_ - 1) / part_;
  for (size_t first = 0; first < batch; first += kMostPanels * kPanel) {
    const size_t count = std::min(batch - first, kMostPanels * kPanel), panels = (count + kPanel - 1) / kPanel;
    const bool worth = size_t(rows_) * cols_ * count > kWorthThreads;
    uint8_t* memory = static_cast<uint8_t*>(pool.shared(panels * (panel_bytes + kPanel * sizeof(Int8Range))));
    Int8Range* range = reinterpret_cast<Int8Range*>(memory + panels * panel_bytes);
    pool.run((count + kInt8Side - 1) / kInt8Side, [&](size_t side, int worker) {
      const size_t at = side * kInt8Side;
      fill(x + first * cols_, count, at, range, memory + at / kPanel * panel_bytes + at % kPanel * 4, pool, worker);
    }, worth);
    pool.run(panels * parts, [&](size_t chunk, int worker) {
      const size_t p = chunk / parts, at = p * kPanel, begin = (first + at) * rows_;
      const uint32_t from = uint32_t(chunk % parts) * part_, to = std::min(rows_, from + part_);
      const int width = int(std::min<size_t>(kPanel, count - at));
      int32_t* acc = static_cast<int32_t*>(pool.scratch(worker, size_t(part_) * kPanel * sizeof(int32_t)));
      multiply(from, to, memory + p * panel_bytes, width, acc);
      Epilogue here = epilogue;
      if (here.residual) here.residual += begin;
      batch_.answers(acc, from, int(to - from), width, range + at, weight_.step.data(), weight_.sum.data(), here, y + begin, rows_);
    }, worth);
  }
}

void BatchLinear8::fill(const float* x, size_t batch, size_t first, Int8Range* range, uint8_t* panel, Pool& pool, int worker) const {
  const size_t step = vector_step(cols_);
  uint8_t* bytes = static_cast<uint8_t*>(pool.scratch(worker, kInt8Side * step));
  for (size_t j = 0; j < kInt8Side; ++j) {
    const size_t b = first + j;
    if (b < batch) range[b] = vector_bytes(kernels_, range_, x + b * cols_, cols_, bytes + j * step);
    else std::fill(bytes + j * step, bytes + (j + 1) * step, uint8_t(0));
  }
  batch_.interleave(bytes, step, padded_quads(cols_), panel);
}

void add_gemm8(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const std::string name = std::string("gemm8/") + int8_kernels(request.cpu).column;
  if (request.wants(name)) found.push_back(std::make_unique<PanelLinear8>(weight, name, request));
}

}  // namespace tersenet
