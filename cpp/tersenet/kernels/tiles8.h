// tiles8.h - sparse eight-bit weights times a panel (int8.h), for machines that multiply dense tiles much faster than vectors:
// 16 rows by 64 columns at a time become dense in the first cache, and are multiplied.
//
//   mask[16 t + i]   bit c: row i of tile t has a weight in column c of the tile
//   value            the weights of tile 0, row by row, those of tile 1, ...; 64 bytes behind the last may be read
//
// The point: a bit a place and a byte a weight cross the memory, 1.7 bits a place at 9 %, where a dense tile has 8.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tersenet/kernels/panel.h"

namespace tersenet {

constexpr uint32_t kTile8Rows = 16, kTile8Columns = 64, kTile8Quads = kTile8Columns / 4;

// acc of `blocks` times 16 rows, kPanel apart, = or += their `count` tiles each, which are block by block; `panel` begins
// at the columns of the first of a block.
using Tiles8Run = void (*)(const uint64_t* mask, const int8_t* value, uint32_t blocks, uint32_t count, const uint8_t* panel, int width, int32_t* acc, bool first);

inline void tiles8_run_scalar(const uint64_t* mask, const int8_t* value, uint32_t blocks, uint32_t count, const uint8_t* panel, int width, int32_t* acc, bool first) {
  for (uint32_t i = 0; first && i < blocks * kTile8Rows; ++i) {
    for (int j = 0; j < width; ++j) acc[i * kPanel + uint32_t(j)] = 0;
  }
  for (uint32_t t = 0; t < blocks * count; ++t) {
    for (uint32_t i = 0; i < kTile8Rows; ++i, ++mask) {
      int32_t* sum = acc + (t / count * kTile8Rows + i) * kPanel;
      for (uint32_t c = 0; c < kTile8Columns; ++c) {
        if (!(*mask >> c & 1)) continue;
        const uint8_t* x = panel + (t % count * kTile8Quads + c / 4) * 4 * kPanel + c % 4;
        for (int j = 0; j < width; ++j) sum[j] += int32_t(*value) * int32_t(x[4 * j]);
        ++value;
      }
    }
  }
}

}  // namespace tersenet
