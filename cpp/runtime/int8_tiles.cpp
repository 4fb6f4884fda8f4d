// Sparse eight-bit weights times panels, by tiles that become dense in the first cache (kernels/tiles8.h).
#include <algorithm>

#include "int8_batch.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr uint32_t kPart = 8 * kTile8Rows, kDepth = 8;  // tiles whose part of the panel, 32 KB, stays in the first cache

class TileLinear8 : public BatchLinear8 {
 public:
  TileLinear8(const Matrix& weight, const std::string& name, const KernelRequest& request, Tiles8Run run) : BatchLinear8(weight, name, request, kPart), run_(run) {
    tiles_ = (cols_ + kTile8Columns - 1) / kTile8Columns;
    const uint32_t blocks = (rows_ + kTile8Rows - 1) / kTile8Rows;
    start_.reserve(size_t(blocks) * tiles_);
    mask_ = AlignedVector<uint64_t>(size_t(blocks) * tiles_ * kTile8Rows);
    value_ = AlignedVector<int8_t>(weight.entries());
    uint32_t put = 0;
    for (uint32_t b = 0; b < blocks; ++b) {
      const uint32_t first = b * kTile8Rows, count = std::min(kTile8Rows, rows_ - first);
      uint32_t next[kTile8Rows];
      for (uint32_t i = 0; i < count; ++i) next[i] = weight.row_start[first + i];
      for (uint32_t t = 0; t < tiles_; ++t) {
        uint64_t* mask = mask_.data() + start_.size() * kTile8Rows;
        start_.push_back(put);
        for (uint32_t i = 0; i < count; ++i) {
          for (uint32_t& e = next[i]; e < weight.row_start[first + i + 1] && weight.col[e] / kTile8Columns == t; ++e) {
            mask[i] |= uint64_t(1) << weight.col[e] % kTile8Columns;
            value_[put++] = weight_.level(weight, e, first + i);
          }
        }
      }
    }
  }

 private:
  Tiles8Run run_;
  uint32_t tiles_;
  std::vector<uint32_t> start_;
  AlignedVector<uint64_t> mask_;
  AlignedVector<int8_t> value_;

  size_t packed_bytes() const override { return start_.size() * sizeof(uint32_t) + mask_.size_bytes() + value_.size_bytes(); }
  void multiply(uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc) const override {
    const Tiles8 weight{tiles_, start_.data(), mask_.data(), value_.data()};
    for (uint32_t t = 0; t < tiles_; t += kDepth) {
      run_(weight, from / kTile8Rows, (to + kTile8Rows - 1) / kTile8Rows, t, std::min(tiles_, t + kDepth), panel + size_t(t) * kTile8Quads * 4 * kPanel, width, acc, t == 0);
    }
  }
};

}  // namespace

// The scalar loop is there to say what is right: no machine is faster with it.
void add_tiles8(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const char* name = "tiles8/scalar";
  Tiles8Run run = request.cpu == Cpu::scalar ? tiles8_run_scalar : nullptr;
#if defined(TERSENET_AMX)
  if (request.cpu == Cpu::avx512vnni && amx_usable()) {
    name = "tiles8/amx";
    run = tiles8_run_amx;
  }
#endif
  if (run && request.wants(name)) found.push_back(std::make_unique<TileLinear8>(weight, name, request, run));
}

}  // namespace tersenet
