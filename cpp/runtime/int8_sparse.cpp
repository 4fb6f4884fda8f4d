// Sparse eight-bit weights times a few vectors at a time.
#include <algorithm>
#include <numeric>

#include "int8_linear.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 400000;  // weights times vectors: about 15 us of one thread

class SparseLinear8 : public LinearKernel {
 public:
  SparseLinear8(const Matrix& weight, const char* name, const Int8Kernels& kernels, const std::optional<Int8Range>& range, Wsell8Run run)
      : name_(name), kernels_(kernels), range_(range), run_(run), weight_(int8_weight(weight)), rows_(weight.rows), cols_(weight.cols), entries_(weight.entries()) {
    std::copy(weight_.codebook.begin(), weight_.codebook.end(), codebook_ + 1);
    pack(weight);
  }

  const char* name() const override { return name_; }
  size_t bytes() const override {
    return (start_.size() + base_.size() + perm_.size()) * 4 + place_.size_bytes() + code_.size_bytes() + sizeof codebook_ + rows_ * (sizeof(float) + sizeof(int32_t));
  }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const Vectors vectors(kernels_, range_, x, batch, cols_, pool);
    const Wsell8 weight{start_.data(), base_.data(), place_.data(), code_.data(), weight_.codebook.empty() ? nullptr : codebook_};
    const size_t groups = start_.size() - 1;
    pool.run(groups, [&](size_t group, int) {
      int32_t sums[kWsell8Vectors * kWsell8Rows];
      for (size_t first = 0; first < batch; first += kWsell8Vectors) {
        const int count = int(std::min<size_t>(kWsell8Vectors, batch - first));
        const uint8_t* bytes = vectors.bytes + first * vector_step(cols_);
        run_(weight, uint32_t(group), uint32_t(group) + 1, bytes, vector_step(cols_), count, sums);
        for (int v = 0; v < count; ++v) store(group, sums + size_t(v) * kWsell8Rows, vectors.range[first + size_t(v)], first + size_t(v), epilogue, y);
      }
    }, entries_ * batch > kWorthThreads);
  }

 private:
  const char* name_;
  Int8Kernels kernels_;
  std::optional<Int8Range> range_;
  Wsell8Run run_;
  Int8Weight weight_;
  uint32_t rows_, cols_;
  size_t entries_;
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
        for (uint32_t i = 0; i < kWsell8Each && next[k] < end[k] && weight.col[next[k]] < first + kWsell8Window; ++i, ++next[k]) {
          place[at + k * kWsell8Each + i] = uint8_t(weight.col[next[k]] - first);
          code[at + k * kWsell8Each + i] = weight_.codebook.empty() ? uint8_t(weight_.level(weight, next[k], rows[k])) : uint8_t(weight.code[next[k]] + 1);
        }
      }
    }
  }
};

}  // namespace

void add_wsell8(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const char* name = "wsell8/scalar";
  Wsell8Run run = wsell8_run_scalar;
#if defined(TERSENET_AVX512VNNI)
  if (request.cpu == Cpu::avx512vnni) {
    name = "wsell8/avx512vnni";
    run = wsell8_run_avx512vnni;
  }
#endif
  if (request.wants(name)) found.push_back(std::make_unique<SparseLinear8>(weight, name, int8_kernels(request.cpu), request.range, run));
}

}  // namespace tersenet
