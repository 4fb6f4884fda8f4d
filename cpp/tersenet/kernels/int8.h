// int8.h - eight-bit weights times eight-bit inputs: exact integer sums, one multiplication by a scale at the end.
//
//   inputs     u8: a vector (a row of a batch, an image) has a scale s and a zero z; x is about s * (u8 - z)
//              z = 0 and s = max x / 255 where no x is negative, else z = 128 and s = max |x| / 127
//   weights    i8 in [-127, 127]: w = step[row] * i8
//   answers    step[row] * s * (sum of i8 * u8 - z * sum of i8), the sums in int32, the rest in float32
//
// After Jacob et al. 2018, arXiv:1712.05877, section 2.2, with ranges taken from each input as it comes (dynamic).
// Columns are taken four at a time (a quad, the last one filled with zeros): that is what one instruction adds up.
//
// READ FIRST
//   1. |i8 * u8| <= 127 * 255, so kInt8MaxColumns columns cannot overflow int32. Integer sums are exact in any order:
//      all columns of kernels, sparse and dense, give the same bits.
//   2. u8 is the nearest integer, ties to even, of x * (1 / s), computed in float32. A vector with NaN or Inf in it
//      has a scale of NaN and answers NaN everywhere.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "tersenet/kernels/panel.h"

namespace tersenet {

constexpr size_t kInt8MaxColumns = 0x7fffffff / (127 * 255);
constexpr int kInt8Rows = 16;  // of a block of int8_vector

// How a vector becomes bytes.
struct Int8Range {
  float scale;    // s
  float inverse;  // 1 / s; 0 where s is 0 or NaN
  int zero;       // z
};

// From the least and the largest value, 0 among them; `finite` is false where a NaN or Inf is.
inline Int8Range int8_range(float low, float high, bool finite) {
  const float most = high > 0.0f - low ? high : 0.0f - low;  // never -0
  const int zero = low < 0 ? 128 : 0;
  const float limit = low < 0 ? 127.0f : 255.0f;
  if (!finite) return {NAN, 0.0f, 0};
  const float inverse = limit / most;
  if (!(inverse <= 3.4e38f)) return {0.0f, 0.0f, zero};  // nothing but zeros, or too small to divide by
  return {most / limit, inverse, zero};
}

struct Int8Kernels {
  const char* column;
  // The least and the largest of n values and 0; false where one is NaN or infinite.
  bool (*range)(const float* x, size_t n, float* low, float* high);
  // to[i] = the byte of x[i]; of a NaN any
  void (*bytes)(const float* x, size_t n, const Int8Range& range, uint8_t* to);
  // to[4 i + k] = the byte of x[k][i]; a null x[k] counts as zeros
  void (*quads)(const float* const x[4], size_t n, const Int8Range& range, uint8_t* to);
  // sums[r] = W[r] . x for one block of kInt8Rows rows: byte (q * kInt8Rows + r) * 4 + k of a block is W[r][4 q + k]
  void (*vector)(const int8_t* block, size_t quads, const uint8_t* x, int32_t* sums);
  // acc[i] of the first `rows` rows of a block of kPanelRows = or += W panel: byte (q * kPanelRows + i) * 4 + k of a block
  // is W[i][4 q + k], byte (q * kPanel + j) * 4 + k of the panel is x[4 q + k] of column j. acc rows are kPanel apart.
  void (*panel)(const int8_t* block, int rows, size_t quads, const uint8_t* panel, int width, int32_t* acc, bool first);
  // y[j] = float(acc[j] - less) * scale; acc and y may be the same memory.
  void (*scaled)(const int32_t* acc, int32_t less, float scale, int n, float* y);
};

namespace int8_scalar {

inline bool range(const float* x, size_t n, float* low, float* high) {
  float least = 0.0f, most = 0.0f;
  bool finite = true;
  for (size_t i = 0; i < n; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
    finite &= x[i] - x[i] == 0.0f;
  }
  *low = least;
  *high = most;
  return finite;
}

inline uint8_t byte(float x, const Int8Range& range) {
  const float low = float(-range.zero), high = float(255 - range.zero);
  const float scaled = x * range.inverse;  // NaN only where x is, and then the inverse is 0
  const float inside = scaled < low ? low : scaled > high ? high : scaled == scaled ? scaled : 0.0f;
  return uint8_t(int(nearbyintf(inside)) + range.zero);
}

inline void bytes(const float* x, size_t n, const Int8Range& range, uint8_t* to) {
  for (size_t i = 0; i < n; ++i) to[i] = byte(x[i], range);
}

inline void quads(const float* const x[4], size_t n, const Int8Range& range, uint8_t* to) {
  for (int k = 0; k < 4; ++k) {
    for (size_t i = 0; i < n; ++i) to[4 * i + size_t(k)] = x[k] ? byte(x[k][i], range) : uint8_t(range.zero);
  }
}

inline void vector(const int8_t* block, size_t quads, const uint8_t* x, int32_t* sums) {
  for (int r = 0; r < kInt8Rows; ++r) sums[r] = 0;
  for (size_t q = 0; q < quads; ++q, block += 4 * kInt8Rows) {
    for (int r = 0; r < kInt8Rows; ++r) {
      for (int k = 0; k < 4; ++k) sums[r] += int32_t(block[4 * r + k]) * int32_t(x[4 * q + size_t(k)]);
    }
  }
}

inline void panel(const int8_t* block, int rows, size_t quads, const uint8_t* panel, int width, int32_t* acc, bool first) {
  for (int i = 0; i < rows; ++i) {
    int32_t* sum = acc + i * kPanel;
    if (first) {
      for (int j = 0; j < width; ++j) sum[j] = 0;
    }
    for (size_t q = 0; q < quads; ++q) {
      const int8_t* w = block + (q * kPanelRows + size_t(i)) * 4;
      const uint8_t* x = panel + q * 4 * kPanel;
      for (int j = 0; j < width; ++j) {
        for (int k = 0; k < 4; ++k) sum[j] += int32_t(w[k]) * int32_t(x[4 * j + k]);
      }
    }
  }
}

inline void scaled(const int32_t* acc, int32_t less, float scale, int n, float* y) {
  for (int j = 0; j < n; ++j) y[j] = float(acc[j] - less) * scale;
}

}  // namespace int8_scalar

inline Int8Kernels int8_kernels_scalar() {
  return {"scalar", int8_scalar::range, int8_scalar::bytes, int8_scalar::quads, int8_scalar::vector, int8_scalar::panel, int8_scalar::scaled};
}

}  // namespace tersenet
