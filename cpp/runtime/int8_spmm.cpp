// Sparse eight-bit weights times panels, by quads (kernels/spmm8.h).
#include <algorithm>

#include "int8_batch.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr uint32_t kTileColumns = 4 * kSpmm8Quads;

class QuadLinear8 : public BatchLinear8 {
 public:
  QuadLinear8(const Matrix& weight, const std::string& name, const KernelRequest& request, Spmm8Run run) : BatchLinear8(weight, name, request, 1), run_(run) {
    tiles_ = (cols_ + kTileColumns - 1) / kTileColumns;
    start_.assign(size_t(tiles_) * rows_ + 1, 0);
    const auto each_quad = [&](const auto& body) {  // (tile and row, quad, is it the first of this quad, entry)
      for (uint32_t r = 0; r < rows_; ++r) {
        uint32_t last = UINT32_MAX;
        for (uint32_t e = weight.row_start[r]; e < weight.row_start[r + 1]; ++e) {
          const uint32_t quad = weight.col[e] / 4;
          body(size_t(quad / kSpmm8Quads) * rows_ + r, quad % kSpmm8Quads, quad != last, e, r);
          last = quad;
        }
      }
    };
    each_quad([&](size_t at, uint32_t, bool opens, uint32_t, uint32_t) { start_[at + 1] += opens; });
    for (size_t at = 1; at < start_.size(); ++at) start_[at] += start_[at - 1];
    place_ = AlignedVector<uint8_t>(start_.back());
    quad_ = AlignedVector<int8_t>(size_t(start_.back()) * 4);
    std::vector<uint32_t> next(start_.begin(), start_.end() - 1);
    each_quad([&](size_t at, uint32_t place, bool opens, uint32_t e, uint32_t r) {
      if (opens) place_[next[at]++] = uint8_t(place);
      quad_[(size_t(next[at]) - 1) * 4 + weight.col[e] % 4] = weight_.level(weight, e, r);
    });
  }

 private:
  Spmm8Run run_;
  uint32_t tiles_;
  std::vector<uint32_t> start_;
  AlignedVector<uint8_t> place_;
  AlignedVector<int8_t> quad_;

  size_t packed_bytes() const override { return start_.size() * sizeof(uint32_t) + place_.size_bytes() + quad_.size_bytes(); }
  void multiply(uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc) const override {
    const Spmm8 weight{rows_, start_.data(), place_.data(), quad_.data()};
    for (uint32_t t = 0; t < tiles_; ++t) run_(weight, t, from, to, panel + size_t(t) * kSpmm8Quads * 4 * kPanel, width, acc, t == 0);
  }
};

}  // namespace

void add_spmm8(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const char* name = "spmm8/scalar";
  Spmm8Run run = spmm8_run_scalar;
#if defined(TERSENET_AVX512VNNI)
  if (request.cpu == Cpu::avx512vnni) {
    name = "spmm8/avx512vnni";
    run = spmm8_run_avx512vnni;
  }
#endif
  if (request.wants(name)) found.push_back(std::make_unique<QuadLinear8>(weight, name, request, run));
}

}  // namespace tersenet
