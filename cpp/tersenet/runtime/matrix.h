// matrix.h - one weight as storage gives it to the runtime: rows x cols, dense or sparse, values shared or free.
//
//   rows, cols   a linear weight (out, in), or a convolution's flattened to (out, in / groups * kh * kw)
//
// READ FIRST
//   1. Sparse: row r holds the entries row_start[r] to row_start[r + 1] - 1, col ascending inside a row, no
//      entry twice. Dense: row_start and col are empty, and entry r * cols + c is the weight at (r, c).
//   2. Shared: codebook is not empty, and entry e is worth codebook[code[e]], code[e] < codebook.size().
//      Free: codebook and code are empty, and it is worth value[e].
//   3. Stepped: a dense shared matrix falls into step.size() equal runs of entries, whole rows or equal parts of one;
//      entry e of run k is worth (codebook[code[e]] - zero[k]) * step[k], codebook and zero being whole numbers below
//      2^24: the grids of `uniform`, `binary`, `ternary` with a step for each row or group. Others have no step.
//      by_column: runs are the columns instead, entry e belongs to run e % cols: the grids of `columns`.
//   4. rows, cols and the number of entries are below 2^31. Everything here has been checked: kernels trust it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tersenet/runtime/aligned.h"

namespace tersenet {

struct Matrix {
  uint32_t rows = 0, cols = 0;
  bool sparse = false;
  std::vector<uint32_t> row_start;  // sparse: rows + 1
  BulkVector<uint32_t> col;         // sparse: one for each entry
  std::vector<float> codebook;      // shared: at most 65536 values
  BulkVector<uint16_t> code;        // shared: one for each entry
  std::vector<float> value;         // free: one for each entry
  std::vector<float> step, zero;    // stepped: one for each run
  bool by_column = false;           // stepped: runs are columns

  bool shared() const { return !codebook.empty(); }
  size_t entries() const { return shared() ? code.size() : value.size(); }
  bool stepped() const { return !step.empty(); }
  size_t run() const { return size_t(rows) * cols / step.size(); }  // entries of a run
  float at(size_t entry) const {
    if (!shared()) return value[entry];
    const float worth = codebook[code[entry]];
    if (!stepped()) return worth;
    const size_t k = by_column ? entry % cols : entry / run();
    return (worth - zero[k]) * step[k];
  }
  double density() const { return rows && cols ? double(entries()) / (double(rows) * cols) : 0; }
};

// rows x cols floats, row-major.
inline std::vector<float> dense_values(const Matrix& matrix) {
  std::vector<float> out(size_t(matrix.rows) * matrix.cols);
  if (!matrix.sparse) {
    for (size_t e = 0; e < out.size(); ++e) out[e] = matrix.at(e);
    return out;
  }
  for (uint32_t r = 0; r < matrix.rows; ++r) {
    for (uint32_t e = matrix.row_start[r]; e < matrix.row_start[r + 1]; ++e) out[size_t(r) * matrix.cols + matrix.col[e]] = matrix.at(e);
  }
  return out;
}

}  // namespace tersenet
