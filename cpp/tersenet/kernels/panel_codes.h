// panel_codes.h - codes of one byte back to the floats that `dense` of panel.h takes.
//
//   code, to   n codes and n floats in the order of blocks: number k * kPanelRows + i is row i, column k
//   table      to[j] = values[code[j]]; the values are 256, of which codes name the first `count`
//   grid       to[j] = (code[j] - zero[j % kPanelRows]) * step[j % kPanelRows]
//   columns    to[j] = (code[j] - zero[j / kPanelRows]) * step[j / kPanelRows]; behind the last of both lie 64 readable bytes
//
// A subtraction and a multiplication as Matrix::at has them, not fused: each column gives the same bits.
// Whole vectors are read and written: up to kCodesBehind codes and floats behind the last are, and count for nothing.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

constexpr int kPanelRows = 6;
constexpr size_t kCodesBehind = 63;

struct PanelCodesKernels {
  const char* column;
  void (*table)(const uint8_t* code, size_t n, const float* values, size_t count, float* to);
  void (*grid)(const uint8_t* code, size_t n, const float* step, const float* zero, float* to);
  void (*columns)(const uint8_t* code, size_t n, const float* step, const float* zero, float* to);
};

inline void panel_table_scalar(const uint8_t* code, size_t n, const float* values, size_t, float* to) {
  for (size_t j = 0; j < n; ++j) to[j] = values[code[j]];
}

inline void panel_grid_scalar(const uint8_t* code, size_t n, const float* step, const float* zero, float* to) {
  for (size_t j = 0; j < n; ++j) to[j] = (float(code[j]) - zero[j % kPanelRows]) * step[j % kPanelRows];
}

inline void panel_columns_scalar(const uint8_t* code, size_t n, const float* step, const float* zero, float* to) {
  for (size_t j = 0; j < n; ++j) to[j] = (float(code[j]) - zero[j / kPanelRows]) * step[j / kPanelRows];
}

}  // namespace tersenet
