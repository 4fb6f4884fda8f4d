// spmm8.h - sparse eight-bit weights times a panel (int8.h): a row keeps the quads in which it has a weight.
//
// Columns are cut into tiles of kSpmm8Quads quads, so that a tile's part of the panel stays in the first cache:
//
//   start[t * rows + r] .. start[t * rows + r + 1] - 1   the quads that row r keeps of tile t
//   place[e]                                             which of the tile's quads it is
//   quad[4 e + k]                                        the weights of its four columns, 0 where there is none
//
// At density d a row keeps 1 - (1 - d)^4 of its quads; one costs an instruction for 16 vectors and no look-up.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tersenet/kernels/panel.h"

namespace tersenet {

constexpr uint32_t kSpmm8Quads = 128;

struct Spmm8 {
  uint32_t rows;
  const uint32_t* start;
  const uint8_t* place;
  const int8_t* quad;
};

// acc of rows from .. to - 1, kPanel apart, = or += their part of tile t; `panel` is the tile's.
using Spmm8Run = void (*)(const Spmm8& weight, uint32_t tile, uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc, bool first);

inline void spmm8_run_scalar(const Spmm8& weight, uint32_t tile, uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc, bool first) {
  const uint32_t* start = weight.start + size_t(tile) * weight.rows;
  for (uint32_t r = from; r < to; ++r, acc += kPanel) {
    for (int j = 0; first && j < width; ++j) acc[j] = 0;
    for (uint32_t e = start[r]; e < start[r + 1]; ++e) {
      const uint8_t* x = panel + size_t(weight.place[e]) * 4 * kPanel;
      const int8_t* w = weight.quad + size_t(e) * 4;
      for (int j = 0; j < width; ++j) {
        for (int k = 0; k < 4; ++k) acc[j] += int32_t(w[k]) * int32_t(x[4 * j + k]);
      }
    }
  }
}

}  // namespace tersenet
