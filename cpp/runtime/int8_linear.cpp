// Linear layers on eight-bit integers: a dense matrix times one vector or panels of 64, and a sparse one.
#include <algorithm>
#include <memory>
#include <numeric>

#include "int8_weight.h"
#include "tersenet/kernels/wsell8.h"
#include "tersenet/runtime/choose.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 600000;  // multiplications: about 15 us of one thread
constexpr size_t kWorthSparse = 400000;   // the same, where each is looked up

uint32_t quads_of(uint32_t cols) { return (cols + 3) / 4; }

// Bytes of a vector, with as many behind it as a window needs; what they hold is multiplied by weights of 0.
size_t vector_step(uint32_t cols) { return (size_t(cols) + kWsell8Window + 63) / 64 * 64; }

// The vectors of a batch as bytes, vector_step apart, behind their ranges.
struct Vectors {
  const Int8Range* range;
  const uint8_t* bytes;

  Vectors(const Int8Kernels& kernels, const std::optional<Int8Range>& fixed, const float* x, size_t batch, uint32_t cols, Pool& pool) {
    const size_t step = vector_step(cols), head = (batch * sizeof(Int8Range) + 63) / 64 * 64;
    uint8_t* memory = static_cast<uint8_t*>(pool.shared(head + batch * step));
    Int8Range* ranges = reinterpret_cast<Int8Range*>(memory);
    range = ranges;
    bytes = memory + head;
    pool.run(batch, [&](size_t b, int) {
      ranges[b] = example_range(kernels, x + b * cols, cols, fixed);
      uint8_t* to = memory + head + b * step;
      kernels.bytes(x + b * cols, cols, ranges[b], to);
      std::fill(to + cols, to + step, uint8_t(0));
    }, batch * cols > kWorthThreads / 8);
  }
};

class Int8Linear : public LinearKernel {
 public:
  Int8Linear(const Matrix& weight, const char* name, const Int8Kernels& kernels, const std::optional<Int8Range>& range)
      : name_(std::string(name) + "/" + kernels.column), kernels_(kernels), range_(range), weight_(int8_weight(weight)), rows_(weight.rows), cols_(weight.cols) {}

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override { return packed_.size_bytes() + rows_ * (sizeof(float) + sizeof(int32_t)); }

 protected:
  std::string name_;
  Int8Kernels kernels_;
  std::optional<Int8Range> range_;
  Int8Weight weight_;
  uint32_t rows_, cols_;
  AlignedVector<int8_t> packed_;

  // Blocks of `rows` rows, quad by quad, row by row, four columns each.
  void pack(const Matrix& weight, uint32_t rows) {
    const uint32_t quads = quads_of(cols_);
    packed_ = AlignedVector<int8_t>(size_t((rows_ + rows - 1) / rows) * rows * quads * 4);
    const auto put = [&](uint32_t r, uint32_t c, size_t entry) {
      packed_[((size_t(r / rows) * quads + c / 4) * rows + r % rows) * 4 + c % 4] = weight_.level(weight, entry, r);
    };
    for (uint32_t r = 0; r < rows_; ++r) {
      if (weight.sparse) {
        for (uint32_t e = weight.row_start[r]; e < weight.row_start[r + 1]; ++e) put(r, weight.col[e], e);
      } else {
        for (uint32_t c = 0; c < cols_; ++c) put(r, c, size_t(r) * cols_ + c);
      }
    }
  }

  void store(uint32_t row, int32_t sum, const Int8Range& range, size_t b, const Epilogue& epilogue, float* y) const {
    const size_t at = b * rows_ + row;
    const float acc = float(sum - range.zero * weight_.sum[row]) * (weight_.step[row] * range.scale);
    y[at] = finish(epilogue, row, acc, epilogue.residual ? epilogue.residual[at] : 0.0f);
  }
};

class VectorLinear : public Int8Linear {
 public:
  VectorLinear(const Matrix& weight, const Int8Kernels& kernels, const std::optional<Int8Range>& range) : Int8Linear(weight, "gemv8", kernels, range) { pack(weight, kInt8Rows); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const Vectors vectors(kernels_, range_, x, batch, cols_, pool);
    const size_t blocks = (rows_ + kInt8Rows - 1) / kInt8Rows, quads = quads_of(cols_);
    pool.run(blocks, [&](size_t block, int) {
      int32_t sums[kInt8Rows];
      const uint32_t first = uint32_t(block) * kInt8Rows, end = std::min(rows_, first + kInt8Rows);
      for (size_t b = 0; b < batch; ++b) {
        kernels_.vector(packed_.data() + block * quads * 4 * kInt8Rows, quads, vectors.bytes + b * vector_step(cols_), sums);
        for (uint32_t r = first; r < end; ++r) store(r, sums[r - first], vectors.range[b], b, epilogue, y);
      }
    }, size_t(rows_) * cols_ * batch > kWorthThreads);
  }
};

class PanelLinear8 : public Int8Linear {
 public:
  PanelLinear8(const Matrix& weight, const Int8Kernels& kernels, const std::optional<Int8Range>& range) : Int8Linear(weight, "gemm8", kernels, range) { pack(weight, kPanelRows); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const Vectors vectors(kernels_, range_, x, batch, cols_, pool);
    const size_t quads = quads_of(cols_), blocks = (rows_ + kPanelRows - 1) / kPanelRows, step = vector_step(cols_);
    const size_t panels = (batch + kPanel - 1) / kPanel;
    pool.run(panels, [&](size_t p, int worker) {
      const size_t first = p * kPanel, width = std::min<size_t>(kPanel, batch - first);
      uint8_t* panel = static_cast<uint8_t*>(pool.scratch(worker, (quads + kPanelRows) * 4 * kPanel));
      int32_t* acc = reinterpret_cast<int32_t*>(panel + quads * 4 * kPanel);
      for (size_t b = 0; b < width; ++b) {
        const uint8_t* from = vectors.bytes + (first + b) * step;
        for (size_t q = 0; q < quads; ++q) std::memcpy(panel + (q * kPanel + b) * 4, from + 4 * q, 4);
      }
      for (size_t block = 0; block < blocks; ++block) {
        const uint32_t row = uint32_t(block) * kPanelRows, rows = std::min<uint32_t>(kPanelRows, rows_ - row);
        kernels_.panel(packed_.data() + block * quads * 4 * kPanelRows, int(rows), quads, panel, int(width), acc, true);
        for (size_t b = 0; b < width; ++b) {
          for (uint32_t r = 0; r < rows; ++r) store(row + r, acc[r * kPanel + b], vectors.range[first + b], first + b, epilogue, y);
        }
      }
    }, size_t(rows_) * cols_ * batch > kWorthThreads);
  }
};

class SparseLinear8 : public LinearKernel {
 public:
  SparseLinear8(const Matrix& weight, const Wsell8Kernel& kernel, const Int8Kernels& kernels, const std::optional<Int8Range>& range)
      : kernel_(kernel), kernels_(kernels), range_(range), weight_(int8_weight(weight)), rows_(weight.rows), cols_(weight.cols), entries_(weight.entries()), shared_(kernel.codebook && !weight_.codebook.empty()) {
    std::copy(weight_.codebook.begin(), weight_.codebook.end(), codebook_ + 1);
    pack(weight);
  }

  const char* name() const override { return kernel_.name; }
  size_t bytes() const override {
    return (start_.size() + base_.size() + perm_.size()) * 4 + place_.size_bytes() + code_.size_bytes() + sizeof codebook_ + rows_ * (sizeof(float) + sizeof(int32_t));
  }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const Vectors vectors(kernels_, range_, x, batch, cols_, pool);
    const Wsell8 weight{start_.data(), base_.data(), place_.data(), code_.data(), shared_ ? codebook_ : nullptr};
    const size_t groups = start_.size() - 1;
    pool.run(groups, [&](size_t group, int) {
      int32_t sums[kWsell8Vectors * kWsell8Rows];
      for (size_t first = 0; first < batch; first += kWsell8Vectors) {
        const int count = int(std::min<size_t>(kWsell8Vectors, batch - first));
        const uint8_t* bytes = vectors.bytes + first * vector_step(cols_);
        kernel_.run(weight, uint32_t(group), uint32_t(group) + 1, bytes, vector_step(cols_), count, sums);
        for (int v = 0; v < count; ++v) store(group, sums + size_t(v) * kWsell8Rows, vectors.range[first + size_t(v)], first + size_t(v), epilogue, y);
      }
    }, entries_ * batch > kWorthSparse);
  }

 private:
  Wsell8Kernel kernel_;
  Int8Kernels kernels_;
  std::optional<Int8Range> range_;
  Int8Weight weight_;
  uint32_t rows_, cols_;
  size_t entries_;
  bool shared_;  // codes are those of codebook_
  int8_t codebook_[kWsell8Codes] = {};
  std::vector<uint32_t> start_, base_, perm_;
  std::vector<int32_t> sum_;  // of weight_, in the order of perm_
  std::vector<float> step_;
  AlignedVector<uint8_t> place_, code_;

  void store(size_t group, const int32_t* sums, const Int8Range& range, size_t b, const Epilogue& epilogue, float* y) const {
    const size_t first = group * kWsell8Rows;
    float acc[kWsell8Rows];
    for (uint32_t k = 0; k < kWsell8Rows; ++k) acc[k] = float(sums[k] - range.zero * sum_[first + k]) * (step_[first + k] * range.scale);
    for (uint32_t k = 0; k < kWsell8Rows && perm_[first + k] < rows_; ++k) {
      const uint32_t row = perm_[first + k];
      const size_t at = b * rows_ + row;
      y[at] = finish(epilogue, row, acc[k], epilogue.residual ? epilogue.residual[at] : 0.0f);
    }
  }

  // Most non-zeros first, so that the rows of a group end together; rows_ stands for no row.
  void pack(const Matrix& weight) {
    perm_.resize(rows_);
    std::iota(perm_.begin(), perm_.end(), 0u);
    const auto count = [&](uint32_t r) { return weight.row_start[r + 1] - weight.row_start[r]; };
    std::stable_sort(perm_.begin(), perm_.end(), [&](uint32_t a, uint32_t b) { return count(a) > count(b); });
    const uint32_t groups = (rows_ + kWsell8Rows - 1) / kWsell8Rows;
    for (uint32_t row : perm_) {
      sum_.push_back(weight_.sum[row]);
      step_.push_back(weight_.step[row]);
    }
    perm_.resize(size_t(groups) * kWsell8Rows, rows_);
    sum_.resize(perm_.size());
    step_.resize(perm_.size());
    std::vector<uint8_t> place, code;
    start_.push_back(0);
    for (uint32_t g = 0; g < groups; ++g) {
      pack_group(weight, perm_.data() + size_t(g) * kWsell8Rows, place, code);
      start_.push_back(uint32_t(base_.size()));
    }
    place_ = AlignedVector<uint8_t>(place.size());
    code_ = AlignedVector<uint8_t>(code.size());
    std::copy(place.begin(), place.end(), place_.begin());
    std::copy(code.begin(), code.end(), code_.begin());
  }

  // The window begins at the first column that any row still needs; every row takes up to four columns inside it.
  void pack_group(const Matrix& weight, const uint32_t* rows, std::vector<uint8_t>& place, std::vector<uint8_t>& code) {
    uint32_t next[kWsell8Rows] = {}, end[kWsell8Rows] = {};
    for (uint32_t k = 0; k < kWsell8Rows && rows[k] < rows_; ++k) {
      next[k] = weight.row_start[rows[k]];
      end[k] = weight.row_start[rows[k] + 1];
    }
    for (;;) {
      uint32_t first = UINT32_MAX;
      for (uint32_t k = 0; k < kWsell8Rows; ++k) {
        if (next[k] < end[k]) first = std::min(first, weight.col[next[k]]);
      }
      if (first == UINT32_MAX) return;
      const size_t at = place.size();
      base_.push_back(first);
      place.resize(at + kWsell8Step, 0);
      code.resize(at + kWsell8Step, 0);
      for (uint32_t k = 0; k < kWsell8Rows; ++k) {
        for (uint32_t i = 0; i < kWsell8Each && next[k] < end[k] && weight.col[next[k]] < first + kernel_.window; ++i, ++next[k]) {
          place[at + k * kWsell8Each + i] = uint8_t(weight.col[next[k]] - first);
          code[at + k * kWsell8Each + i] = shared_ ? uint8_t(weight.code[next[k]] + 1) : uint8_t(weight_.level(weight, next[k], rows[k]));
        }
      }
    }
  }
};

Wsell8Kernel wsell8_kernel(Cpu cpu) {
#if defined(TERSENET_AVX512VNNI)
  if (cpu == Cpu::avx512vnni) return {"wsell8/avx512vnni", wsell8_run_avx512vnni, kWsell8Window, true};
#endif
#if defined(TERSENET_AVX2)
  if (cpu != Cpu::scalar) return {"wsell8/avx2", wsell8_run_avx2, 64, false};
#endif
#if defined(__aarch64__)
  if (cpu != Cpu::scalar) return {"wsell8/neon", wsell8_run_neon, 64, false};
#endif
  (void)cpu;
  return {"wsell8/scalar", wsell8_run_scalar, kWsell8Window, true};
}

}  // namespace

void add_int8_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  if (!fits_int8(weight)) return;
  const Int8Kernels kernels = int8_kernels(request.cpu);
  if (weight.sparse) {
    const Wsell8Kernel kernel = wsell8_kernel(request.cpu);
    if (request.wants(kernel.name)) found.push_back(std::make_unique<SparseLinear8>(weight, kernel, kernels, request.range));
    if (uint64_t(weight.rows) * weight.cols > kDenseFree) return;  // dense, it would take more memory than the file promises
  }
  const std::string vector = std::string("gemv8/") + kernels.column, panel = std::string("gemm8/") + kernels.column;
  if (request.wants(vector)) found.push_back(std::make_unique<VectorLinear>(weight, kernels, request.range));
  if (request.wants(panel)) found.push_back(std::make_unique<PanelLinear8>(weight, kernels, request.range));
}

}  // namespace tersenet
