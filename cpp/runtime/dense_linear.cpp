#include "panel_matrix.h"

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 100000;  // multiplications: about 15 us of one thread, streaming from memory
constexpr size_t kWorthRows = 4000000;    // bytes times vectors: the same, where panels are multiplied

// Row-major weights, one vector of a batch after the other: nothing but the memory's speed matters.
class DenseVectorLinear : public LinearKernel {
 public:
  DenseVectorLinear(const Matrix& weight, const PanelKernels& kernels)
      : name_(std::string("gemv/") + kernels.column), vector_(kernels.vector), rows_(weight.rows), cols_(weight.cols), weight_(size_t(weight.rows) * weight.cols) {
    const std::vector<float> dense = dense_values(weight);
    std::copy(dense.begin(), dense.end(), weight_.begin());
  }

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override { return weight_.size_bytes(); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const size_t blocks = (rows_ + kRows - 1) / kRows;
    const size_t parts = weight_.size() * batch < kWorthThreads || pool.threads() == 1 ? 1 : std::min<size_t>(16, blocks);
    pool.run(parts, [&](size_t chunk, int) {
      float sums[kRows];
      for (size_t block = blocks * chunk / parts; block < blocks * (chunk + 1) / parts; ++block) {
        const size_t first = block * kRows, count = std::min(kRows, rows_ - first);
        for (size_t b = 0; b < batch; ++b) {
          vector_(weight_.data() + first * cols_, count, cols_, x + b * cols_, sums);
          for (size_t i = 0; i < count; ++i) {
            const size_t at = b * rows_ + first + i;
            y[at] = finish(epilogue, first + i, sums[i], epilogue.residual ? epilogue.residual[at] : 0.0f);
          }
        }
      }
    });
  }

 private:
  static constexpr size_t kRows = 16;
  std::string name_;
  void (*vector_)(const float*, size_t, size_t, const float*, float*);
  size_t rows_, cols_;
  AlignedVector<float> weight_;
};

// A batch as panels of up to 64 vectors side by side; where there are fewer panels than threads, each takes some of the rows.
class PanelLinear : public LinearKernel {
 public:
  PanelLinear(std::unique_ptr<PanelMatrix> matrix, const std::string& name, const PanelKernels& kernels)
      : name_(name), matrix_(std::move(matrix)), finish_(kernels.finish), turn_(kernels.turn) {}

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override { return matrix_->bytes(); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const size_t panels = (batch + kPanel - 1) / kPanel, blocks = (matrix_->rows() + kPanelRows - 1) / kPanelRows;
    const size_t parts = panels < size_t(pool.threads()) && bytes() * batch > kWorthRows ? std::min(blocks, size_t(pool.threads())) : 1;
    pool.run(panels * parts, [&](size_t chunk, int worker) {
      const size_t part = chunk % parts;
      const uint32_t from = uint32_t(blocks * part / parts * kPanelRows), rows = std::min(uint32_t(blocks * (part + 1) / parts * kPanelRows), matrix_->rows()) - from;
      const size_t first = chunk / parts * kPanel, width = std::min<size_t>(kPanel, batch - first);
      const size_t panel_size = size_t(std::min(kTileDepth, matrix_->depth())) * kPanel;
      const size_t sums = PanelMatrix::acc_size(rows), added = epilogue.residual ? sums : 0;
      float* panel = static_cast<float*>(pool.scratch(worker, (panel_size + sums + added + matrix_->scratch_size()) * sizeof(float)));
      float *const acc = panel + panel_size, *const scratch = acc + sums + added;
      std::memset(panel, 0, panel_size * sizeof(float));
      for (uint32_t t = 0; t < matrix_->tiles(); ++t) {
        turn_(x + first * matrix_->depth() + t * kTileDepth, width, matrix_->tile_depth(t), matrix_->depth(), panel, kPanel);
        matrix_->multiply(t, from, rows, panel, kPanel, int(width), acc, scratch);
      }
      store(acc, acc + sums, from, rows, first, width, epilogue, y);
    });
  }

 private:
  std::string name_;
  std::unique_ptr<PanelMatrix> matrix_;
  decltype(PanelKernels::finish) finish_;
  decltype(PanelKernels::turn) turn_;

  // Rows [begin, begin + rows) of the vectors first, first + 1, ...; `added` has room for as many sums as `acc`, if anything is added.
  void store(float* acc, float* added, size_t begin, size_t rows, size_t first, size_t width, const Epilogue& epilogue, float* y) const {
    const size_t at = first * matrix_->rows() + begin;
    if (epilogue.residual) turn_(epilogue.residual + at, width, rows, matrix_->rows(), added, kPanel);
    for (size_t r = 0; r < rows * kPanel; r += kPanel) finish_(epilogue, begin + r / kPanel, acc + r, epilogue.residual ? added + r : nullptr, int(width), acc + r);
    turn_(acc, rows, width, kPanel, y + at, matrix_->rows());
  }
};

}  // namespace

void add_sparse_panel_kernel(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const PanelKernels kernels = panel_kernels(request.cpu);
  const std::string name = std::string("spmm/") + kernels.column;
  if (request.wants(name)) found.push_back(std::make_unique<PanelLinear>(sparse_panel_matrix(weight, 0, weight.rows, kernels), name, kernels));
}

void add_codes_panel_kernel(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const PanelKernels kernels = panel_kernels(request.cpu);
  const std::string name = std::string("gemm-codes8/") + kernels.codes.column;
  if (fits_bytes(weight) && request.wants(name)) found.push_back(std::make_unique<PanelLinear>(codes_panel_matrix(weight, 0, weight.rows, kernels), name, kernels));
}

void add_dense_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const PanelKernels kernels = panel_kernels(request.cpu);
  const std::string vector = std::string("gemv/") + kernels.column, panel = std::string("gemm/") + kernels.column;
  if (request.wants(vector)) found.push_back(std::make_unique<DenseVectorLinear>(weight, kernels));
  if (request.wants(panel)) found.push_back(std::make_unique<PanelLinear>(dense_panel_matrix(weight, 0, weight.rows, kernels), panel, kernels));
}

}  // namespace tersenet
