// panel.h - a weight matrix times a panel of up to 64 columns (pixels of an image, or vectors of a batch); one
// channel of a depthwise convolution; a dense matrix times one vector.
//
//   panel      row k holds 64 floats, of which `width` count; rows are kPanel apart
//   acc        row r holds 64 floats, rows kPanel apart; `first` says whether they begin at 0 or are added to
//
//   dense      weights in blocks of kPanelRows rows: value k * kPanelRows + i of a block is W[row i][k], 0 behind the last
//   sparse     entries of a row one after the other: column within the panel and value
//
// Lanes beyond `width` up to the next vector are computed and never stored: panels have room for them.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tersenet/kernels/panel_codes.h"
#include "tersenet/kernels/winograd.h"
#include "tersenet/runtime/layer_epilogue.h"

namespace tersenet {

constexpr int kPanel = 64;

// Pixels to, to + 1, ... of a panel, which lie side by side in the image from `from` on.
struct PanelSegment {
  uint32_t to, count, from;
};

// One channel of an image, of which every output pixel reads the same taps.
struct Depthwise {
  const size_t* tap;  // where the taps of pixel (0, 0) lie
  int taps;
  size_t step;        // from what an output row reads to what the next one reads
  size_t stride;      // the same for output columns
  size_t rows, cols;  // of the output
};

struct PanelKernels {
  const char* column;  // "avx512"
  // acc[i] of `rows` rows of blocks that follow each other += W panel, over `depth` rows of the panel, which lie `step` apart.
  void (*dense)(const float* blocks, size_t rows, size_t depth, const float* panel, size_t step, int width, float* acc, bool first);
  // acc[r] for rows entries[start[r]] .. entries[start[r + 1] - 1]
  void (*sparse)(const uint32_t* start, const uint16_t* col, const float* value, size_t rows, const float* panel, size_t step, int width, float* acc, bool first);
  // y[j] = finish(acc[j]) for one row of width values.
  void (*finish)(const Epilogue& epilogue, size_t row, const float* acc, const float* residual, int width, float* y);
  // y[i * cols + j] = finish(sum over taps of weight[t] * image[tap[t] + i * step + j * stride]); the image has room for 64 floats behind.
  void (*depthwise)(const Depthwise& shape, const float* image, const float* weight, const Epilogue& epilogue, size_t channel, const float* residual, float* y);
  // sums[r] = W[r] . x for `rows` rows of `cols` values.
  void (*vector)(const float* weight, size_t rows, size_t cols, const float* x, float* sums);
  // into[i] = the largest of from[0][i], ... from[count - 1][i] for i below n; a NaN wins. `into` overlaps none of them.
  void (*largest)(const float* const* from, int count, size_t n, float* into);
  // Row k of the panel: its segments from image + tap[k]. Whole vectors are copied: what is too much is overwritten by the
  // next segment or row, or lies behind the panel, where there is room for a row.
  void (*gather)(const float* image, const uint32_t* tap, size_t depth, const PanelSegment* segment, size_t segments, float* panel);
  // to[i * step + j] = x[i * cols + j] for i below rows, j below cols.
  void (*spread)(const float* x, size_t rows, size_t cols, float* to, size_t step);
  // to[j * to_step + i] = x[i * step + j] for i below rows, j below cols.
  void (*turn)(const float* x, size_t rows, size_t cols, size_t step, float* to, size_t to_step);
  // x[0], x[2], ... to even, x[1], x[3], ... to odd.
  void (*split)(const float* x, size_t n, float* even, float* odd);
  WinogradKernels winograd;
  PanelCodesKernels codes;
};

PanelKernels panel_kernels_scalar();

}  // namespace tersenet
