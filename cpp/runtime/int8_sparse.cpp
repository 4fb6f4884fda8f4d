// Sparse eight-bit weights times a few vectors at a time (kernels/wsell8.h).
#include <algorithm>
#include <numeric>

#include "int8_linear.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kChunks = 16;
constexpr size_t kWorthThreads = 200000;  // weights times vectors: about 6 us of one thread

class WindowLinear8 : public Int8Linear {
 public:
  WindowLinear8(const Matrix& weight, const Wsell8Kernel& kernel, const KernelRequest& request)
      : Int8Linear(weight, kernel.name, int8_kernels(request.cpu), request.range), finish_(int8_batch_kernels(request.cpu)), kernel_(kernel), entries_(weight.entries()) {
    shared_ = kernel.codebook && !weight_.codebook.empty() && weight_.codebook.size() < kWsell8Codes;
    for (size_t i = 0; shared_ && i < weight_.codebook.size(); ++i) codebook_[i + 1] = codebook_[i + 1 + kWsell8Codes] = weight_.codebook[i];
    pack(weight, request.pool ? uint32_t(request.pool->threads()) : 1);
  }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const Vectors vectors(kernels_, range_, x, batch, cols_, pool);
    const Wsell8 weight{start_.data(), base_.data(), slot_.data(), shared_ ? codebook_ : nullptr};
    const size_t groups = start_.size() - 1, chunks = std::min(groups, kChunks);
    const auto run_group = [&](size_t group) {
      int32_t sums[kWsell8Vectors * kWsell8Rows];
      const size_t row = group * kWsell8Rows;
      const int rows = int(std::min<size_t>(kWsell8Rows, rows_ - row));
      for (size_t first = 0; first < batch; first += kWsell8Vectors) {
        const int count = int(std::min<size_t>(kWsell8Vectors, batch - first));
        kernel_.run(weight, uint32_t(group), uint32_t(group) + 1, vectors.bytes + first * vector_step(cols_), vector_step(cols_), count, sums);
        for (int v = 0; v < count; ++v) {
          const size_t b = first + size_t(v);
          Epilogue here = epilogue;
          if (here.residual) here.residual += b * rows_;
          finish_.scattered(sums + size_t(v) * kWsell8Rows, perm_.data() + row, rows, vectors.range[b], weight_.step.data() + row, weight_.sum.data() + row, here, y + b * rows_);
        }
      }
    };
    pool.run(chunks, [&](size_t chunk, int) {
      for (size_t group = groups * chunk / chunks; group < groups * (chunk + 1) / chunks; ++group) run_group(group);
    }, entries_ * batch > kWorthThreads);
  }

 private:
  Int8BatchKernels finish_;
  Wsell8Kernel kernel_;
  size_t entries_;
  bool shared_;
  int8_t codebook_[2 * kWsell8Codes] = {};
  std::vector<uint32_t> start_, base_, perm_;  // weight_'s steps and sums are in the order of perm_
  AlignedVector<uint8_t> slot_;

  size_t packed_bytes() const override { return (start_.size() + base_.size() + perm_.size()) * 4 + slot_.size_bytes() + sizeof codebook_; }

  // Most non-zeros first, so that the rows of a group end together; but within each worker's share of the groups, so that
  // no two write to the same lines of y.
  void pack(const Matrix& weight, uint32_t workers) {
    perm_.resize(rows_);
    std::iota(perm_.begin(), perm_.end(), 0u);
    const auto count = [&](uint32_t r) { return weight.row_start[r + 1] - weight.row_start[r]; };
    const auto begin = [&](size_t worker) { return perm_.begin() + std::min<size_t>(rows_, (rows_ + kWsell8Rows - 1) / kWsell8Rows * worker / workers * kWsell8Rows); };
    for (uint32_t k = 0; k < workers; ++k) std::stable_sort(begin(k), begin(k + 1), [&](uint32_t a, uint32_t b) { return count(a) > count(b); });
    std::vector<uint8_t> slot;
    start_.push_back(0);
    for (uint32_t first = 0; first < rows_; first += kWsell8Rows) {
      pack_group(weight, perm_.data() + first, std::min(kWsell8Rows, rows_ - first), slot);
      start_.push_back(uint32_t(base_.size()));
    }
    slot_ = AlignedVector<uint8_t>(slot.size());
    std::copy(slot.begin(), slot.end(), slot_.begin());
    const Int8Weight before = weight_;
    for (uint32_t k = 0; k < rows_; ++k) {
      weight_.step[k] = before.step[perm_[k]];
      weight_.sum[k] = before.sum[perm_[k]];
    }
  }

  // The window begins at the first column that any row still needs; every row takes up to four columns inside it.
  void pack_group(const Matrix& weight, const uint32_t* rows, uint32_t count, std::vector<uint8_t>& slots) {
    uint32_t next[kWsell8Rows], end[kWsell8Rows];
    for (uint32_t k = 0; k < count; ++k) {
      next[k] = weight.row_start[rows[k]];
      end[k] = weight.row_start[rows[k] + 1];
    }
    for (;;) {
      uint32_t first = UINT32_MAX;
      for (uint32_t k = 0; k < count; ++k) {
        if (next[k] < end[k]) first = std::min(first, weight.col[next[k]]);
      }
      if (first == UINT32_MAX) return;
      base_.push_back(first);
      slots.resize(slots.size() + Wsell8::step_bytes(shared_), 0);
      uint8_t *place = slots.data() + slots.size() - Wsell8::step_bytes(shared_), *value = place + kWsell8Slots;
      for (uint32_t k = 0; k < count; ++k) {
        for (uint32_t i = k * kWsell8Each; i < (k + 1) * kWsell8Each && next[k] < end[k] && weight.col[next[k]] < first + kernel_.window; ++i, ++next[k]) {
          place[i] = uint8_t(weight.col[next[k]] - first);
          if (!shared_) {
            value[i] = uint8_t(weight_.level(weight, next[k], rows[k]));
            continue;
          }
          const uint32_t code = weight.code[next[k]] + 1u;
          place[i] |= uint8_t(code >> 4 << 7);
          value[i % 64] |= uint8_t((code & 15) << (i < 64 ? 0 : 4));
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

void add_wsell8(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const Wsell8Kernel kernel = wsell8_kernel(request.cpu);
  if (request.wants(kernel.name)) found.push_back(std::make_unique<WindowLinear8>(weight, kernel, request));
}

}  // namespace tersenet
