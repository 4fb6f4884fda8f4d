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

// Upper and lower output pixels of all tiles of a row of sums, each in a line of its own.
struct WinogradStrip {
  alignas(64) float upper[2 * kPanel + kLanes], lower[2 * kPanel + kLanes];
};

inline void winograd_strip(const float* sum, size_t place_step, int width, WinogradStrip& strip) {
  for (int t = 0; t < width; t += kLanes) {
    const auto m = [&](int i, int j) { return v_load(sum + size_t(4 * i + j) * place_step + t); };
    vec upper[4], lower[4];  // A^T m
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const vec plus = v_add(m(1, j), m(2, j)), minus = v_sub(m(1, j), m(2, j));
      upper[j] = v_add(m(0, j), plus);
      lower[j] = v_sub(minus, m(3, j));
    }
    const auto put = [&](const vec* s, float* out) {
      vec low, high;
      v_zip(v_add(v_add(s[0], s[1]), s[2]), v_sub(v_sub(s[1], s[2]), s[3]), low, high);
      v_store(out, low);
      v_store(out + kLanes, high);
    };
    put(upper, strip.upper + 2 * t);
    put(lower, strip.lower + 2 * t);
  }
}

void winograd_output(const float* sum, size_t place_step, size_t rows, int width, const WinogradPiece* piece, size_t pieces, const Epilogue& epilogue, size_t row, const float* residual,
                     float* y, size_t row_step) {
  constexpr size_t kTogether = 6;  // what was just written in one shape is not to be read in another at once
  WinogradStrip strips[kTogether];
  for (size_t first = 0; first < rows; first += kTogether) {
    const size_t end = first + kTogether < rows ? first + kTogether : rows;
    for (size_t r = first; r < end; ++r) winograd_strip(sum + r * kPanel, place_step, width, strips[r - first]);
    for (size_t r = first; r < end; ++r) {
      const WinogradStrip& strip = strips[r - first];
      float* const to = y + r * row_step;
      const float* const add = residual ? residual + r * row_step : nullptr;
      const auto all = [&](const auto& store) {
        for (const WinogradPiece* p = piece; p < piece + pieces; ++p) {
          store(strip.upper + p->from, p->upper, int(p->count));
          if (p->has_lower) store(strip.lower + p->from, p->lower, int(p->count));
        }
      };
      if (epilogue.activation == Activation::leaky) {
        all([&](const float* acc, size_t at, int n) { panel_finish(epilogue, row + r, acc, add ? add + at : nullptr, n, to + at); });
        continue;
      }
      const Finish finished(epilogue, row + r);
      all([&](const float* acc, size_t at, int n) {
        for (int j = 0; j < n; j += kLanes) finished.store(v_load(acc + j), add ? add + at + j : nullptr, n - j, to + at + j);
      });
    }
  }
}

}  // namespace
}  // namespace tersenet
