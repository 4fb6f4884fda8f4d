// rans_kernel.h - what the inner loops of rans decoding work on.
//
// READ FIRST
//   1. Value i belongs to lane i % lanes. A step takes one value from every lane; after it, the
//      lanes below 2^16 take one 16-bit word each, in the order of the lanes.
//   2. Between values 2^16 <= x < 2^32. With slot = x mod 2^scale, x becomes
//      freq * (x >> scale) + bias, which is at most x since bias < freq, and at least 2 since
//      x >> scale >= 2: so nothing overflows and one word restores x, whatever the bytes say.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

constexpr uint32_t kRansLower = 1 << 16;
constexpr int kRansMinScale = 12, kRansMaxScale = 15;
constexpr int kRansMaxLanes = 32;

struct RansTable {
  int scale;                     // 12..15
  const uint32_t* freq_bias;     // for each of 2^scale slots: freq | bias << 16
  const uint16_t* symbols;       // for each slot, and one more so that 32-bit loads stay inside
  const uint32_t* packed;        // freq | bias << 12 | symbol << 24; null unless scale is 12 and symbols are bytes
};

struct RansRun {
  uint32_t* states;         // 32 of them
  const uint8_t* words;     // next 16-bit little-endian word
  const uint8_t* words_end;
  uint8_t* out;             // next value
  size_t steps;             // steps of 32 values that fit in the output
  int symbol_bytes;         // 1 or 2
};

}  // namespace tersenet
