// tiles8.h - sparse eight-bit weights times a panel (int8.h), for machines that multiply dense tiles much faster than vectors:
// 16 rows by 64 columns at a time become dense in the first cache, and are multiplied.
//
//   start[b * tiles + t]               where the weights of tile t of block b begin in `value`
//   mask[(b * tiles + t) * 16 + i]     bit c: row i of the block has a weight at column 64 t + c
//   value                              the weights, row by row; 64 bytes behind the last may be read
//
// The point: a bit a place and a byte a weight cross the memory, 1.7 bits a place at 9 %, where a dense tile has 8.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tersenet/kernels/panel.h"

namespace tersenet {

constexpr uint32_t kTile8Rows = 16, kTile8Columns = 64, kTile8Quads = kTile8Columns / 4;

struct Tiles8 {
  uint32_t tiles;  // of a block
  const uint32_t* start;
  const uint64_t* mask;
  const int8_t* value;
};

// acc of blocks from .. to - 1, rows kPanel apart, = or += their tiles first_tile .. end_tile - 1; `panel` begins at the first one.
using Tiles8Run = void (*)(const Tiles8& weight, uint32_t from, uint32_t to, uint32_t first_tile, uint32_t end_tile, const uint8_t* panel, int width, int32_t* acc, bool first);

inline void tiles8_run_scalar(const Tiles8& weight, uint32_t from, uint32_t to, uint32_t first_tile, uint32_t end_tile, const uint8_t* panel, int width, int32_t* acc, bool first) {
  for (uint32_t i = 0; i < (to - from) * kTile8Rows; ++i, acc += kPanel) {
    const uint32_t block = from + i / kTile8Rows, row = i % kTile8Rows;
    for (int j = 0; first && j < width; ++j) acc[j] = 0;
    for (uint32_t t = first_tile; t < end_tile; ++t) {
      const size_t tile = size_t(block) * weight.tiles + t;
      const uint64_t* mask = weight.mask + tile * kTile8Rows;
      const int8_t* value = weight.value + weight.start[tile];
      for (uint32_t before = 0; before < row * 64; ++before) value += mask[before / 64] >> before % 64 & 1;
      for (uint32_t c = 0; c < kTile8Columns; ++c) {
        if (!(mask[row] >> c & 1)) continue;
        const uint8_t* x = panel + (size_t(t - first_tile) * kTile8Quads + c / 4) * 4 * kPanel + c % 4;
        for (int j = 0; j < width; ++j) acc[j] += int32_t(*value) * int32_t(x[4 * j]);
        ++value;
      }
    }
  }
}

}  // namespace tersenet
