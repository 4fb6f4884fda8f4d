// Sparse eight-bit weights times panels, by tiles that become dense in the first cache (kernels/tiles8.h).
#include <algorithm>

#include "int8_batch.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr uint32_t kDepth = 8;  // tiles whose part of the panel, 32 KB, stays in the first cache

// Tiles in the order in which they are multiplied: part by part, kDepth columns of tiles at a time, block by block.
class TileLinear8 : public BatchLinear8 {
 public:
  TileLinear8(const Matrix& weight, const std::string& name, const KernelRequest& request, Tiles8Run run) : BatchLinear8(weight, name, request, kTile8Rows), run_(run) {
    tiles_ = (cols_ + kTile8Columns - 1) / kTile8Columns;
    mask_ = AlignedVector<uint64_t>(size_t(blocks_of(rows_)) * tiles_ * kTile8Rows);
    value_ = AlignedVector<int8_t>(weight.entries());
    std::vector<uint32_t> next(weight.row_start.begin(), weight.row_start.end() - 1);
    uint64_t* mask = mask_.data();
    uint32_t put = 0;
    for (uint32_t from = 0; from < rows_; from += part_) {
      const uint32_t to = std::min(rows_, from + part_);
      for (uint32_t first = 0; first < tiles_; first += kDepth) {
        start_.push_back(put);
        for (uint32_t block = from; block < to; block += kTile8Rows) {
          for (uint32_t t = first; t < std::min(tiles_, first + kDepth); ++t, mask += kTile8Rows) {
            for (uint32_t r = block; r < std::min(to, block + kTile8Rows); ++r) {
              for (uint32_t& e = next[r]; e < weight.row_start[r + 1] && weight.col[e] / kTile8Columns == t; ++e) {
                mask[r - block] |= uint64_t(1) << weight.col[e] % kTile8Columns;
                value_[put++] = weight_.level(weight, e, r);
              }
            }
          }
        }
      }
    }
  }

 private:
  Tiles8Run run_;
  uint32_t tiles_;
  std::vector<uint32_t> start_;  // of the values, for each part and depth
  AlignedVector<uint64_t> mask_;
  AlignedVector<int8_t> value_;

  static uint32_t blocks_of(uint32_t rows) { return (rows + kTile8Rows - 1) / kTile8Rows; }

  size_t packed_bytes() const override { return start_.size() * sizeof(uint32_t) + mask_.size_bytes() + value_.size_bytes(); }
  void multiply(uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc) const override {
    const uint32_t blocks = blocks_of(to - from);
    const uint64_t* mask = mask_.data() + size_t(from) * tiles_;
    const uint32_t* start = start_.data() + size_t(from / part_) * ((tiles_ + kDepth - 1) / kDepth);
    for (uint32_t first = 0; first < tiles_; first += kDepth, ++start) {
      const uint32_t count = std::min(kDepth, tiles_ - first);
      run_(mask, value_.data() + *start, blocks, count, panel + size_t(first) * kTile8Quads * 4 * kPanel, width, acc, first == 0);
      mask += size_t(blocks) * count * kTile8Rows;
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
