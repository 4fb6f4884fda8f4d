// winograd.h - convolutions with 3x3 taps by tiles of 2x2 output pixels: 16 multiplications a tile in place of 36.
//
//   Y = A^T [(G g G^T) . (B^T d B)] A      d: 4x4 inputs, g: 3x3 taps, Y: 2x2 outputs
//
// F(2x2, 3x3) of Lavin and Gray 2015, arXiv:1509.09308, equations 8 and 9. What is multiplied, summed over channels, are
// 16 matrices, one for each place (i, j) of a transformed tile, which is place 4 i + j here.
//
//   place      rows of 64 floats for each place, `place_step` floats from one place to the next
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tersenet/runtime/layer_epilogue.h"

namespace tersenet {

constexpr int kWinogradPlaces = 16;

// Output pixels of neighbouring tiles: `count` of an upper row that begins at y + upper, and of a lower one, if any, at
// y + lower. They are those from `from` on of all the panel's.
struct WinogradPiece {
  uint32_t from, count, upper, lower;
  bool has_lower;
};

struct WinogradKernels {
  // to[place][t] = (B^T d B)[place] for t below width, d[i][j] of tile t being x[tap[4 i + j] + t]; taps have room for a
  // vector behind the last tile.
  void (*input)(const float* x, const uint32_t* tap, int width, float* to, size_t place_step);
  // y[r * row_step + ...] = finish(A^T m A) for rows `row` + r, r below rows, m[place][t] being
  // sum[place * place_step + r * 64 + t]; the residual lies as y does.
  void (*output)(const float* sum, size_t place_step, size_t rows, int width, const WinogradPiece* piece, size_t pieces, const Epilogue& epilogue, size_t row, const float* residual, float* y,
                 size_t row_step);
};

// G g G^T, to[4 i + j] of taps g[3 i + j].
inline void winograd_weight(const float* g, float* to) {
  float half[4][3];
  for (int j = 0; j < 3; ++j) {
    const float even = 0.5f * (g[j] + g[6 + j]), odd = 0.5f * g[3 + j];
    half[0][j] = g[j];
    half[1][j] = even + odd;
    half[2][j] = even - odd;
    half[3][j] = g[6 + j];
  }
  for (int i = 0; i < 4; ++i) {
    const float even = 0.5f * (half[i][0] + half[i][2]), odd = 0.5f * half[i][1];
    to[4 * i] = half[i][0];
    to[4 * i + 1] = even + odd;
    to[4 * i + 2] = even - odd;
    to[4 * i + 3] = half[i][2];
  }
}

}  // namespace tersenet
