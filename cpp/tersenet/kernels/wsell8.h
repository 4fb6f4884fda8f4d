// wsell8.h - sparse eight-bit weights times an eight-bit vector (int8.h): the windowed layout of wsell.h for bytes.
//
// Rows are sorted by their number of non-zeros and cut into groups of 32. A group is a list of steps; a step has a
// window of 128 columns and, for each row, at most four non-zeros inside it, slots 4 k to 4 k + 3 of row k:
//
//   start[g] .. start[g + 1] - 1   the steps of group g
//   base[s]                        first column of the window of step s; x has 128 bytes from there
//   slot                           the steps, one after the other:
//     bytes 0 to 127     bits 0-6: column of slot i within the window, below 128 or what the kernel takes; bit 7: bit 4 of its code
//     bytes 128 to 191   bits 0-3 of the codes: slot i in the low half, slot 64 + i in the high half of byte i
//   codebook                       32 values and again the same 32; entry 0 is 0: a row without so many non-zeros in the
//                                  window adds 0 * x. Null: bytes 128 to 255 of a step are the weights themselves
//
// Layers beyond the second cache run at the speed of memory: a slot has 12 bits where there are so few values, else 16.
//
// READ FIRST
//   1. Sums are exact (int8.h, 1): every column of kernels gives the same bits, and the same as a dense kernel.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

constexpr uint32_t kWsell8Rows = 32, kWsell8Window = 128, kWsell8Each = 4, kWsell8Codes = 32;
constexpr uint32_t kWsell8Slots = kWsell8Rows * kWsell8Each;

struct Wsell8 {
  const uint32_t* start;
  const uint32_t* base;
  const uint8_t* slot;
  const int8_t* codebook;

  static constexpr size_t step_bytes(bool shared) { return kWsell8Slots + (shared ? kWsell8Slots / 2 : kWsell8Slots); }
};

// Groups from .. to - 1 for `count` vectors, x_step apart: sum k of vector b and group from + g is at
// sums + (g * count + b) * kWsell8Rows + k.
using Wsell8Run = void (*)(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums);

// A column of kernels, and what it takes.
struct Wsell8Kernel {
  const char* name;
  Wsell8Run run;
  uint32_t window;  // places are below it
  bool codebook;    // else there is none
};

// The vectors that one call may take.
constexpr int kWsell8Vectors = 6;

inline void wsell8_run_scalar(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums) {
  for (uint32_t g = from; g < to; ++g) {
    for (int b = 0; b < count; ++b, sums += kWsell8Rows) {
      for (uint32_t k = 0; k < kWsell8Rows; ++k) sums[k] = 0;
      for (uint32_t s = weight.start[g]; s < weight.start[g + 1]; ++s) {
        const uint8_t* window = x + size_t(b) * x_step + weight.base[s];
        const uint8_t* slot = weight.slot + s * Wsell8::step_bytes(weight.codebook);
        const uint8_t* value = slot + kWsell8Slots;
        for (uint32_t i = 0; i < kWsell8Slots; ++i) {
          const uint32_t code = (i < 64 ? value[i] & 15 : value[i - 64] >> 4) | (slot[i] >> 7) << 4;
          const int8_t w = weight.codebook ? weight.codebook[code] : int8_t(value[i]);
          sums[i / kWsell8Each] += int32_t(w) * int32_t(window[slot[i] & 127]);
        }
      }
    }
  }
}

}  // namespace tersenet
