// int8_batch.h - layers on eight-bit integers (int8.h) around their sums: vectors become a panel, sums become answers.
//
// A batch lies vector by vector, a panel quad by quad and its sums row by row: both ways are transposes of blocks of 16 by 16.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tersenet/kernels/int8.h"

namespace tersenet {

constexpr int kInt8Side = 16;

struct Int8BatchKernels {
  // kInt8Side columns of a panel: byte (q * kPanel + j) * 4 + k of it = x[j * x_step + 4 q + k], quads a multiple of kInt8Side.
  void (*interleave)(const uint8_t* x, size_t x_step, size_t quads, uint8_t* panel);
  // y[j * y_step + r] for `rows` rows r from `row` on and `width` columns j: as int8.h says, then the epilogue, whose residual
  // is laid out as y. acc holds the sums of row `row` first, rows kPanel apart, and may be read to a multiple of kInt8Side rows.
  void (*answers)(const int32_t* acc, size_t row, int rows, int width, const Int8Range* range, const float* step, const int32_t* sum, const Epilogue& epilogue, float* y, size_t y_step);
  // The same of one vector, whose sum k is that of row row[k]; step and sum are in the order of acc.
  void (*scattered)(const int32_t* acc, const uint32_t* row, int rows, const Int8Range& range, const float* step, const int32_t* sum, const Epilogue& epilogue, float* y);
};

namespace int8_scalar {

inline void interleave(const uint8_t* x, size_t x_step, size_t quads, uint8_t* panel) {
  for (int j = 0; j < kInt8Side; ++j) {
    for (size_t q = 0; q < quads; ++q) {
      for (size_t k = 0; k < 4; ++k) panel[(q * kPanel + size_t(j)) * 4 + k] = x[size_t(j) * x_step + 4 * q + k];
    }
  }
}

inline float answer(int32_t acc, size_t row, const Int8Range& range, const float* step, const int32_t* sum) {
  return float(acc - range.zero * sum[row]) * (step[row] * range.scale);
}

inline void scattered(const int32_t* acc, const uint32_t* row, int rows, const Int8Range& range, const float* step, const int32_t* sum, const Epilogue& epilogue, float* y) {
  for (int k = 0; k < rows; ++k) {
    const uint32_t r = row[k];
    y[r] = finish(epilogue, r, answer(acc[k], size_t(k), range, step, sum), epilogue.residual ? epilogue.residual[r] : 0.0f);
  }
}

inline void answers(const int32_t* acc, size_t row, int rows, int width, const Int8Range* range, const float* step, const int32_t* sum, const Epilogue& epilogue, float* y, size_t y_step) {
  for (int j = 0; j < width; ++j) {
    for (int i = 0; i < rows; ++i) {
      const size_t r = row + size_t(i), at = size_t(j) * y_step + r;
      y[at] = finish(epilogue, r, answer(acc[i * kPanel + j], r, range[j], step, sum), epilogue.residual ? epilogue.residual[at] : 0.0f);
    }
  }
}

}  // namespace int8_scalar

inline Int8BatchKernels int8_batch_kernels_scalar() { return {int8_scalar::interleave, int8_scalar::answers, int8_scalar::scattered}; }

}  // namespace tersenet
