// winograd_loop.h - the loops of winograd.h on vectors, after panel_loop.h, whose names and Finish it uses, and
//
//   v_sub(a, b)
//   v_zip(a, b, low, high)   a[0], b[0], a[1], b[1], ...
#pragma once

#include "tersenet/kernels/panel_loop.h"
#include "tersenet/kernels/winograd.h"

namespace tersenet {
namespace {

void winograd_input(const float* x, const uint32_t* tap, int width, float* to, size_t place_step) {
  for (int t = 0; t < width; t += kLanes, x += kLanes, to += kLanes) {
    const auto d = [&](int i, int j) { return v_load(x + tap[4 * i + j]); };
    vec row[4][4];  // B^T d
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      row[0][j] = v_sub(d(0, j), d(2, j));
      row[1][j] = v_add(d(1, j), d(2, j));
      row[2][j] = v_sub(d(2, j), d(1, j));
      row[3][j] = v_sub(d(1, j), d(3, j));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      float* place = to + size_t(4 * i) * place_step;
      v_store(place, v_sub(row[i][0], row[i][2]));
      v_store(place + place_step, v_add(row[i][1], row[i][2]));
      v_store(place + 2 * place_step, v_sub(row[i][2], row[i][1]));
      v_store(place + 3 * place_step, v_sub(row[i][1], row[i][3]));
    }
  }
}

void winograd_output(const float* sum, size_t place_step, int width, const WinogradPiece* piece, size_t pieces, const Epilogue& epilogue, size_t row, const float* residual, float* y) {
  alignas(64) float strip[2][2 * kPanel + kLanes];  // upper and lower rows of all tiles
  for (int t = 0; t < width; t += kLanes) {
    const auto m = [&](int i, int j) { return v_load(sum + size_t(4 * i + j) * place_step + t); };
    vec upper[4], lower[4];  // A^T m
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const vec plus = v_add(m(1, j), m(2, j)), minus = v_sub(m(1, j), m(2, j));
      upper[j] = v_add(m(0, j), plus);
      lower[j] = v_sub(minus, m(3, j));
    }
    vec low, high;
    const auto put = [&](const vec* s, float* out) {
      v_zip(v_add(v_add(s[0], s[1]), s[2]), v_sub(v_sub(s[1], s[2]), s[3]), low, high);
      v_store(out + 2 * t, low);
      v_store(out + 2 * t + kLanes, high);
    };
    put(upper, strip[0]);
    put(lower, strip[1]);
  }
  const auto all = [&](const auto& store) {
    for (const WinogradPiece* p = piece; p < piece + pieces; ++p) {
      store(strip[0] + p->from, p->upper, int(p->count));
      if (p->has_lower) store(strip[1] + p->from, p->lower, int(p->count));
    }
  };
  if (epilogue.activation == Activation::leaky) {
    return all([&](const float* acc, size_t at, int n) { panel_finish(epilogue, row, acc, residual ? residual + at : nullptr, n, y + at); });
  }
  const Finish finished(epilogue, row);
  all([&](const float* acc, size_t at, int n) {
    for (int j = 0; j < n; j += kLanes) finished.store(v_load(acc + j), residual ? residual + at + j : nullptr, n - j, y + at + j);
  });
}

}  // namespace
}  // namespace tersenet
