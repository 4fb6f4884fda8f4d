// csr.h - sparse rows times a vector: for each row the columns and values of its non-zeros.
//
//   row_start    rows + 1; the entries of row r are row_start[r] to row_start[r + 1] - 1
//   col          16 bits for each entry where cols <= 65536, else 32
//   value        float for each entry
//
// Vector columns add several entries at a time, so sums differ from the scalar one in the last bits.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

// sums[r - from] for rows from .. to - 1. `col` is uint16_t or uint32_t as the caller's choice of function says.
using CsrRun = void (*)(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums);

template <class Col>
inline void csr_run_scalar(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums) {
  const Col* at = static_cast<const Col*>(col);
  for (uint32_t r = from; r < to; ++r) {
    float even = 0, odd = 0;  // two sums, so that one addition need not wait for the other
    uint32_t e = row_start[r];
    const uint32_t end = row_start[r + 1];
    for (; e + 2 <= end; e += 2) {
      even += value[e] * x[at[e]];
      odd += value[e + 1] * x[at[e + 1]];
    }
    if (e < end) even += value[e] * x[at[e]];
    sums[r - from] = even + odd;
  }
}

}  // namespace tersenet
