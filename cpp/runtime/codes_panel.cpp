// Weights of at most 256 values as bytes in the order of DensePanelMatrix: a strip of rows becomes floats for as long as a panel
// is multiplied by it (kernels/panel_codes.h).
#include <optional>

#include "grid.h"
#include "panel_matrix.h"

namespace tersenet {
namespace {

constexpr size_t kMostCodes = 256;

class CodesPanelMatrix : public PanelMatrix {
 public:
  CodesPanelMatrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels)
      : PanelMatrix(rows, weight.cols), kernels_(kernels.codes), multiply_(kernels.dense), width_(weight.cols), code_(size_t(blocks()) * kPanelRows * weight.cols) {
    if (weight.by_column) {
      by_column_ = true;
      step_ = AlignedVector<float>(weight.cols);
      zero_ = AlignedVector<float>(weight.cols);
      std::copy(weight.step.begin(), weight.step.end(), step_.begin());
      std::copy(weight.zero.begin(), weight.zero.end(), zero_.begin());
    } else if (weight.stepped()) {
      width_ = uint32_t(std::min<size_t>(weight.run(), weight.cols));
      take_steps([&](uint32_t r, uint32_t s) {
        const size_t run = (size_t(from + r) * weight.cols + size_t(s) * width_) / weight.run();
        return Grid{weight.step[run], weight.zero[run]};
      });
    } else if (const std::optional<Grid> grid = grid_of(weight.codebook)) {
      take_steps([&](uint32_t, uint32_t) { return *grid; });
    } else {
      values_ = AlignedVector<float>(kMostCodes);
      count_ = weight.codebook.size();
      std::copy(weight.codebook.begin(), weight.codebook.end(), values_.begin());
    }
    for (uint32_t r = 0; r < rows; ++r) {
      const uint16_t* code = weight.code.data() + size_t(from + r) * weight.cols;
      for (uint32_t t = 0; t < tiles(); ++t) {
        uint8_t* to = code_.data() + start(t, r / kPanelRows) + r % kPanelRows;
        for (uint32_t k = 0; k < tile_depth(t); ++k, ++code, to += kPanelRows) *to = weight.stepped() ? uint8_t(weight.codebook[*code]) : uint8_t(*code);
      }
    }
  }

  size_t bytes() const override { return code_.size_bytes() + values_.size_bytes() + step_.size_bytes() + zero_.size_bytes(); }
  size_t scratch_size() const override { return size_t(kStripRows) * std::min(kTileDepth, depth_) + kCodesBehind; }

  void multiply(uint32_t tile, uint32_t from, uint32_t rows, const float* panel, size_t step, int width, float* acc, float* scratch) const override {
    for (uint32_t r = 0; r < rows; r += kStripRows) {
      const uint32_t now = std::min(kStripRows, rows - r);
      decode(tile, (from + r) / kPanelRows, (now + kPanelRows - 1) / kPanelRows, scratch);
      multiply_(scratch, now, tile_depth(tile), panel, step, width, acc + size_t(r) * kPanel, tile == 0);
    }
  }

 private:
  PanelCodesKernels kernels_;
  void (*multiply_)(const float*, size_t, size_t, const float*, size_t, int, float*, bool);
  uint32_t width_;                  // columns that share a step
  AlignedVector<uint8_t> code_;
  AlignedVector<float> values_;     // of a table
  size_t count_ = 0;
  bool by_column_ = false;
  AlignedVector<float> step_, zero_;  // of a grid: of each column, or block by block, then by `width_` columns, then row by row

  template <class Of>
  void take_steps(const Of& of) {
    const uint32_t segments = depth_ / width_;
    step_ = AlignedVector<float>(size_t(blocks()) * segments * kPanelRows);
    zero_ = AlignedVector<float>(step_.size());
    for (uint32_t r = 0; r < rows_; ++r) {
      for (uint32_t s = 0; s < segments; ++s) {
        const Grid grid = of(r, s);
        const size_t at = (size_t(r / kPanelRows) * segments + s) * kPanelRows + r % kPanelRows;
        step_[at] = grid.step;
        zero_[at] = grid.zero;
      }
    }
  }

  void decode(uint32_t tile, uint32_t block, uint32_t count, float* to) const {
    const uint32_t depth = tile_depth(tile), first = tile * kTileDepth;
    const uint8_t* code = code_.data() + start(tile, block);
    const size_t each = size_t(kPanelRows) * depth;
    if (step_.size() == 0) return kernels_.table(code, count * each, values_.data(), count_, to);
    for (uint32_t i = 0; i < count; ++i, code += each, to += each) {
      by_column_ ? kernels_.columns(code, each, step_.data() + first, zero_.data() + first, to) : decode_segments(block + i, first, depth, code, to);
    }
  }

  // Columns [from, from + depth) of a block, whose steps change every width_ columns.
  void decode_segments(uint32_t block, uint32_t from, uint32_t depth, const uint8_t* code, float* to) const {
    const uint32_t end = from + depth;
    for (uint32_t column = from; column < end;) {
      const uint32_t segment = column / width_, next = std::min(end, (segment + 1) * width_);
      const size_t at = (size_t(block) * (depth_ / width_) + segment) * kPanelRows, n = size_t(next - column) * kPanelRows;
      kernels_.grid(code, n, step_.data() + at, zero_.data() + at, to);
      code += n;
      to += n;
      column = next;
    }
  }
};

}  // namespace

bool fits_bytes(const Matrix& weight) {
  const std::vector<float>& values = weight.codebook;
  if (weight.sparse || !weight.shared() || values.size() > kMostCodes) return false;
  // Of a grid the byte is the level itself, a whole number.
  return !weight.stepped() || std::all_of(values.begin(), values.end(), [](float level) { return level >= 0 && level < float(kMostCodes); });
}

std::unique_ptr<PanelMatrix> codes_panel_matrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels) {
  return std::make_unique<CodesPanelMatrix>(weight, from, rows, kernels);
}

}  // namespace tersenet
