// wsell.h - sparse weights times vectors: a windowed sliced ELL layout, 48 rows to a group ("WSELL-48").
//
// Rows are sorted by their number of non-zeros and cut into groups of 48. A group is a list of steps; a step has a
// window of 32 columns and, for each row, at most one non-zero inside it:
//
//   start[g] .. start[g + 1] - 1   the steps of group g
//   base[s]                        first column of the window of step s; base[s] + 32 <= cols, or 0 where cols < 32
//   slot[16 s + l], lane l < 16    bits 0-4 offset, 5-9 code of row l; 10-19 the same of row 16 + l; 20-29 of row 32 + l
//   codebook                       32 values, entry 0 is 0.0: a row without a non-zero in the window adds 0 * x
//   perm[48 g + k]                 which row of the matrix is row k of group g; kNoRow for none
//
// The point: a lookup in two vector registers (x in the window, the codebook) takes one instruction and no memory,
// where a gather takes 17 cycles.
//
// READ FIRST
//   1. x holds at least 32 values that may be read, cols of them and then zeros.
//   2. 0 * x is added where a row has nothing: NaN and Inf spread to other rows, as in dense arithmetic.
//   3. A sum has one order in every column of kernels but for fused multiply-adds: results differ in the last bits.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

constexpr uint32_t kWsellRows = 48, kWsellWindow = 32, kWsellCodes = 32;
constexpr uint32_t kNoRow = 0xffffffff;

struct Wsell {
  const uint32_t* start;
  const uint32_t* base;
  const uint32_t* slot;
  const float* codebook;
};

// Groups from .. to - 1 for `count` vectors: acc[48 k] of vector b and group from + k is at sums + (k * count + b) * 48.
using WsellRun = void (*)(const Wsell& weight, uint32_t from, uint32_t to, const float* x, size_t x_step, int count, float* sums);

// Cuts one group into steps. Row k's entries are word[begin[k]] .. word[end[k] - 1], column << 5 | code, columns ascending
// and below kWsellColumns; a window begins at `last` at most. `base` and `slot` have room for a step an entry; returns the
// number of steps. The window begins at the first column that any row still needs; every row with a column inside takes part.
using WsellPack = uint32_t (*)(const uint32_t* word, const uint32_t* begin, const uint32_t* end, uint32_t last, uint32_t* base, uint32_t* slot);
constexpr uint32_t kWsellColumns = 1u << 26;
constexpr uint32_t kWsellDone = 0xffffffff;  // as a word: above every other

// The vectors that one call may take.
constexpr int kWsellVectors = 6;

inline uint32_t wsell_pack_scalar(const uint32_t* word, const uint32_t* begin, const uint32_t* end, uint32_t last, uint32_t* base, uint32_t* slot) {
  uint32_t cursor[kWsellRows], next[kWsellRows];
  for (uint32_t k = 0; k < kWsellRows; ++k) {
    cursor[k] = begin[k];
    next[k] = cursor[k] < end[k] ? word[cursor[k]] : kWsellDone;
  }
  for (uint32_t steps = 0;; ++steps, slot += 16) {
    uint32_t first = kWsellDone;
    for (uint32_t k = 0; k < kWsellRows; ++k) first = next[k] < first ? next[k] : first;
    if (first == kWsellDone) return steps;
    const uint32_t window = first >> 5 < last ? first >> 5 : last;
    base[steps] = window;
    for (uint32_t l = 0; l < 16; ++l) slot[l] = 0;
    for (uint32_t k = 0; k < kWsellRows; ++k) {
      const uint32_t offset = (next[k] >> 5) - window;
      if (next[k] == kWsellDone || offset >= kWsellWindow) continue;
      slot[k % 16] |= (offset | (next[k] & 31) << 5) << 10 * (k / 16);
      next[k] = ++cursor[k] < end[k] ? word[cursor[k]] : kWsellDone;
    }
  }
}

inline void wsell_run_scalar(const Wsell& weight, uint32_t from, uint32_t to, const float* x, size_t x_step, int count, float* sums) {
  for (uint32_t g = from; g < to; ++g) {
    for (int b = 0; b < count; ++b, sums += kWsellRows) {
      for (uint32_t k = 0; k < kWsellRows; ++k) sums[k] = 0.0f;
      for (uint32_t s = weight.start[g]; s < weight.start[g + 1]; ++s) {
        const float* window = x + size_t(b) * x_step + weight.base[s];
        for (uint32_t k = 0; k < kWsellRows; ++k) {
          const uint32_t field = weight.slot[16 * size_t(s) + k % 16] >> 10 * (k / 16);
          sums[k] += weight.codebook[field >> 5 & 31] * window[field & 31];
        }
      }
    }
  }
}

}  // namespace tersenet
