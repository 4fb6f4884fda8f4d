#include "panel_matrix.h"

namespace tersenet {
namespace {

class DensePanelMatrix : public PanelMatrix {
 public:
  DensePanelMatrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels)
      : PanelMatrix(rows, weight.cols), multiply_(kernels.dense), packed_(size_t(blocks()) * kPanelRows * weight.cols) {
    const auto put = [&](uint32_t row, uint32_t column, float value) {
      const uint32_t tile = column / kTileDepth, k = column % kTileDepth;
      packed_[start(tile, row / kPanelRows) + size_t(k) * kPanelRows + row % kPanelRows] = value;
    };
    for (uint32_t r = 0; r < rows; ++r) {
      if (weight.sparse) {
        for (uint32_t e = weight.row_start[from + r]; e < weight.row_start[from + r + 1]; ++e) put(r, weight.col[e], weight.at(e));
      } else {
        for (uint32_t c = 0; c < weight.cols; ++c) put(r, c, weight.at(size_t(from + r) * weight.cols + c));
      }
    }
  }

  size_t bytes() const override { return packed_.size_bytes(); }

  void multiply(uint32_t tile, uint32_t from, uint32_t rows, const float* panel, size_t step, int width, float* acc, float*) const override {
    multiply_(packed_.data() + start(tile, from / kPanelRows), rows, tile_depth(tile), panel, step, width, acc, tile == 0);
  }

 private:
  void (*multiply_)(const float*, size_t, size_t, const float*, size_t, int, float*, bool);
  AlignedVector<float> packed_;
};

class SparsePanelMatrix : public PanelMatrix {
 public:
  SparsePanelMatrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels) : PanelMatrix(rows, weight.cols), multiply_(kernels.sparse) {
    const uint32_t first = weight.row_start[from], count = weight.row_start[from + rows] - first;
    col_.resize(count);
    value_.resize(count);
    start_.reserve(size_t(tiles()) * rows + 1);
    uint32_t at = 0;
    const float* const codebook = weight.shared() ? weight.codebook.data() : nullptr;
    std::vector<uint32_t> next(weight.row_start.begin() + from, weight.row_start.begin() + from + rows);
    for (uint32_t tile = 0; tile < tiles(); ++tile) {
      const uint32_t begin = tile * kTileDepth, end = begin + tile_depth(tile);
      for (uint32_t r = 0; r < rows; ++r) {
        start_.push_back(at);
        uint32_t e = next[r];
        const uint32_t last = weight.row_start[from + r + 1];
        for (; e < last && weight.col[e] < end; ++e, ++at) {
          col_[at] = uint16_t(weight.col[e] - begin);
          value_[at] = codebook ? codebook[weight.code[e]] : weight.value[e];
        }
        next[r] = e;
      }
    }
    start_.push_back(at);
  }

  size_t bytes() const override { return start_.size() * 4 + col_.size() * 2 + value_.size() * 4; }

  void multiply(uint32_t tile, uint32_t from, uint32_t rows, const float* panel, size_t step, int width, float* acc, float*) const override {
    multiply_(start_.data() + size_t(tile) * rows_ + from, col_.data(), value_.data(), rows, panel, step, width, acc, tile == 0);
  }

 private:
  void (*multiply_)(const uint32_t*, const uint16_t*, const float*, size_t, const float*, size_t, int, float*, bool);
  std::vector<uint32_t> start_;  // tile by tile, then row by row
  std::vector<uint16_t> col_;
  std::vector<float> value_;
};

}  // namespace

PanelKernels panel_kernels(Cpu cpu) {
#if defined(TERSENET_AVX512VNNI)
  if (cpu == Cpu::avx512vnni) {
    PanelKernels kernels = panel_kernels_avx512();
    add_panel_codes_avx512vnni(kernels.codes);
    return kernels;
  }
#endif
#if defined(TERSENET_AVX512)
  if (cpu == Cpu::avx512 || cpu == Cpu::avx512vnni) return panel_kernels_avx512();
#endif
#if defined(TERSENET_AVX2)
  if (cpu == Cpu::avx2) return panel_kernels_avx2();
#endif
#if defined(__aarch64__)
  if (cpu >= Cpu::neon) return panel_kernels_neon();
#endif
  (void)cpu;
  return panel_kernels_scalar();
}

std::unique_ptr<PanelMatrix> dense_panel_matrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels) {
  return std::make_unique<DensePanelMatrix>(weight, from, rows, kernels);
}

std::unique_ptr<PanelMatrix> sparse_panel_matrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels) {
  return std::make_unique<SparsePanelMatrix>(weight, from, rows, kernels);
}

}  // namespace tersenet
