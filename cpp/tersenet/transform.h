// transform.h - the inverse orthonormal cosine transform of a storage tree, on blocks of up to 64 x 64 floats.
//
//   x         numel floats, changed in place
//   sizes     the last `axes` (1 or 2) sizes of the shape, each 1 to 64
//
// Entry (t, f) of the matrix is c_f cos(pi f (2 t + 1) / 2 n), c_0 = sqrt(1/n), else sqrt(2/n), rounded to
// a multiple of 2^-20: no entry lies so near to a half that the last bit of a cosine would matter (tests/storage).
// Sums run over f = 0, 1, ..., from +0, one float32 multiply and one add each; the last axis goes first.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace tersenet {

// [f][t], so that the inner loop runs along t.
inline std::vector<float> dct_columns(uint64_t n) {
  const double pi = 3.141592653589793;
  std::vector<float> columns(size_t(n * n));
  for (uint64_t f = 0; f < n; ++f) {
    const double scale = f == 0 ? std::sqrt(1.0 / double(n)) : std::sqrt(2.0 / double(n));
    for (uint64_t t = 0; t < n; ++t) {
      const double exact = scale * std::cos(pi * double(f) * double(2 * t + 1) / double(2 * n));
      columns[size_t(f * n + t)] = float(std::rint(exact * 1048576.0) * (1.0 / 1048576.0));
    }
  }
  return columns;
}

inline void inverse_dct(float* x, uint64_t numel, const uint64_t* sizes, int axes) {
  const uint64_t width = sizes[axes - 1];
  const std::vector<float> across = dct_columns(width);
  float sum[64 * 64];
  for (uint64_t row = 0; row < numel; row += width) {
    for (uint64_t t = 0; t < width; ++t) sum[t] = 0.0f;
    for (uint64_t f = 0; f < width; ++f) {
      const float value = x[row + f];
      for (uint64_t t = 0; t < width; ++t) sum[t] += across[size_t(f * width + t)] * value;
    }
    for (uint64_t t = 0; t < width; ++t) x[row + t] = sum[t];
  }
  if (axes == 1) return;
  const uint64_t height = sizes[0], area = height * width;
  const std::vector<float> down = dct_columns(height);
  for (uint64_t block = 0; block < numel; block += area) {
    for (uint64_t i = 0; i < area; ++i) sum[i] = 0.0f;
    for (uint64_t f = 0; f < height; ++f) {
      const float* row = x + block + f * width;
      for (uint64_t t = 0; t < height; ++t) {
        const float by = down[size_t(f * height + t)];
        for (uint64_t i = 0; i < width; ++i) sum[t * width + i] += by * row[i];
      }
    }
    for (uint64_t i = 0; i < area; ++i) x[block + i] = sum[i];
  }
}

}  // namespace tersenet
