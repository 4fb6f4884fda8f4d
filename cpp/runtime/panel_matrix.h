// panel_matrix.h - a weight in the form that panels are multiplied by: tiles of kTileDepth columns, so that the part
// of a panel that a tile needs stays in the second-level cache while all rows pass over it.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "tersenet/kernels/panel.h"
#include "tersenet/runtime/layer.h"
#include "tersenet/targets.h"

namespace tersenet {

constexpr uint32_t kTileDepth = 192;
constexpr uint32_t kStripRows = 4 * kPanelRows;  // whose sums stay near

PanelKernels panel_kernels(Cpu cpu);

// Asks for the cache lines of n floats that will be written: rows of an output lie far apart, which no hardware guesses.
inline void prefetch_write(const float* y, size_t n) {
#if defined(__GNUC__)
  for (size_t i = 0; i < n; i += 16) __builtin_prefetch(y + i, 1);
#else
  (void)y, (void)n;
#endif
}

class PanelMatrix {
 public:
  virtual ~PanelMatrix() = default;
  virtual size_t bytes() const = 0;
  // acc (rows kPanel apart, padded to whole blocks) = or += rows [from, from + rows) of tile `tile` times `panel`, whose
  // rows lie `step` apart and hold that tile's columns; `from` is a multiple of kPanelRows. `scratch` has scratch_size() floats.
  virtual void multiply(uint32_t tile, uint32_t from, uint32_t rows, const float* panel, size_t step, int width, float* acc, float* scratch) const = 0;
  virtual size_t scratch_size() const { return 0; }

  uint32_t rows() const { return rows_; }
  uint32_t depth() const { return depth_; }
  uint32_t tiles() const { return (depth_ + kTileDepth - 1) / kTileDepth; }
  uint32_t tile_depth(uint32_t tile) const { return std::min(kTileDepth, depth_ - tile * kTileDepth); }
  static size_t acc_size(uint32_t rows) { return size_t((rows + kPanelRows - 1) / kPanelRows * kPanelRows) * kPanel; }

 protected:
  PanelMatrix(uint32_t rows, uint32_t depth) : rows_(rows), depth_(depth) {}
  uint32_t rows_, depth_;

  // Where a block begins among values that lie tile by tile, then block by block, then column by column.
  uint32_t blocks() const { return (rows_ + kPanelRows - 1) / kPanelRows; }
  size_t start(uint32_t tile, uint32_t block) const { return (size_t(tile) * kTileDepth * blocks() + size_t(block) * tile_depth(tile)) * kPanelRows; }
};

// Rows [from, from + rows) of a matrix.
std::unique_ptr<PanelMatrix> dense_panel_matrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels);
std::unique_ptr<PanelMatrix> sparse_panel_matrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels);
// Codes of one byte, floats only while they are multiplied; for matrices of which fits_bytes is true.
std::unique_ptr<PanelMatrix> codes_panel_matrix(const Matrix& weight, uint32_t from, uint32_t rows, const PanelKernels& kernels);
bool fits_bytes(const Matrix& weight);

// For batches: panels of up to 64 vectors.
void add_sparse_panel_kernel(const Matrix& weight, const KernelRequest& request, LinearKernels& found);
void add_codes_panel_kernel(const Matrix& weight, const KernelRequest& request, LinearKernels& found);

}  // namespace tersenet
