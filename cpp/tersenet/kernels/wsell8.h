// wsell8.h - sparse eight-bit weights times an eight-bit vector (int8.h): the windowed layout of wsell.h for bytes.
//
// Rows are sorted by their number of non-zeros and cut into groups of 32. A group is a list of steps; a step has a
// window of 128 columns and, for each row, at most four non-zeros inside it:
//
//   start[g] .. start[g + 1] - 1   the steps of group g
//   base[s]                        first column of the window of step s; x has 128 bytes from there
//   place[128 s + 4 k + i]         column of non-zero i of row k within the window, below 128 or what the kernel takes
//   code[128 s + 4 k + i]          which of the values of `codebook` it takes
//   codebook                       64 values, entry 0 is 0: a row without so many non-zeros in the window adds 0 * x;
//                                  null where `code` holds the weights themselves
//
// READ FIRST
//   1. Sums are exact (int8.h, 1): every column of kernels gives the same bits, and the same as a dense kernel.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

constexpr uint32_t kWsell8Rows = 32, kWsell8Window = 128, kWsell8Each = 4, kWsell8Codes = 64;
constexpr uint32_t kWsell8Step = kWsell8Rows * kWsell8Each;

struct Wsell8 {
  const uint32_t* start;
  const uint32_t* base;
  const uint8_t* place;
  const uint8_t* code;
  const int8_t* codebook;
};

// Groups from .. to - 1 for `count` vectors, x_step apart: sum k of vector b and group from + g is at
// sums + (g * count + b) * kWsell8Rows + k.
using Wsell8Run = void (*)(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums);

// A column of kernels, and what it takes.
struct Wsell8Kernel {
  const char* name;
  Wsell8Run run;
  uint32_t window;  // places are below it
  bool codebook;    // else codes are the weights themselves
};

// The vectors that one call may take.
constexpr int kWsell8Vectors = 6;

inline void wsell8_run_scalar(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums) {
  for (uint32_t g = from; g < to; ++g) {
    for (int b = 0; b < count; ++b, sums += kWsell8Rows) {
      for (uint32_t k = 0; k < kWsell8Rows; ++k) sums[k] = 0;
      for (uint32_t s = weight.start[g]; s < weight.start[g + 1]; ++s) {
        const uint8_t* window = x + size_t(b) * x_step + weight.base[s];
        const size_t at = size_t(s) * kWsell8Step;
        for (uint32_t i = 0; i < kWsell8Step; ++i) {
          const uint8_t code = weight.code[at + i];
          const int8_t value = weight.codebook ? weight.codebook[code] : int8_t(code);
          sums[i / kWsell8Each] += int32_t(value) * int32_t(window[weight.place[at + i]]);
        }
      }
    }
  }
}

}  // namespace tersenet
