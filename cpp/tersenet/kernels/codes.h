// codes.h - dense weights that are codes of four or eight bits times vectors of floats: no row is ever laid out in floats.
//
// A row is cut into segments, each with a step and a zero; each segment is filled up to whole chunks of 16 columns, the
// row to whole blocks of 8 chunks. Columns that are filled up have inputs of 0. A weight is worth
//
//   nibbles   step * values[16 * table + code]             code: bits 4 j .. 4 j + 3 of word l of a block, 16 words of
//                                                          32 bits, for chunk j and column l of it
//   levels    step * (code - zero)                         code: byte 128 w + c for column c of block w
//   bytes     values[code]; one segment                    the same, but column order[c % 64] + c / 64 * 64 where the
//                                                          kernels have an order
//
// with code, zero and values exact in float32 and one rounding by step, as the decoder of files has it. Where `segment`
// is null a row has one step, which the caller multiplies into the sum.
//
// READ FIRST
//   1. Values, steps and zeros are finite: 0 times one of them is 0.
//   2. Sums have another order in each column of kernels: they differ in the last bits.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

constexpr size_t kChunk = 16, kBlockChunks = 8, kBlockColumns = kChunk * kBlockChunks;
// The vectors that one call may take.
constexpr int kCodeVectors = 4;

// What all rows share.
struct Codes {
  size_t blocks;            // of a row
  const uint16_t* segment;  // of each chunk, or null
  const float* values;      // nibbles: 16 of each table; bytes: 256
};

struct CodeRow {
  const uint8_t* code;      // 64-byte aligned
  const float* step;        // by segment
  const float* zero;        // levels: by segment
  const uint8_t* table;     // nibbles: by segment
};

// sums[v] for `count` vectors, x_step apart, each laid out as the columns of a row.
using CodesRun = void (*)(const Codes& weight, const CodeRow& row, const float* x, size_t x_step, int count, float* sums);

struct CodesKernels {
  const char* column;
  CodesRun nibbles, levels, bytes;
  const uint8_t* order;  // of bytes, 64 of them, or null
};

namespace codes_scalar {

template <class Worth>
inline void run(const Codes& weight, const CodeRow& row, const float* x, size_t x_step, int count, float* sums, const Worth& worth) {
  for (int v = 0; v < count; ++v, x += x_step) {
    float sum[4] = {};  // so that one addition need not wait for the other
    for (size_t chunk = 0; chunk < weight.blocks * kBlockChunks; ++chunk) {
      const size_t s = weight.segment ? weight.segment[chunk] : 0;
      const float step = weight.segment ? row.step[s] : 1.0f;
      for (size_t l = 0; l < kChunk; ++l) sum[l % 4] += worth(chunk, l, s) * step * x[chunk * kChunk + l];
    }
    sums[v] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

inline void nibbles(const Codes& weight, const CodeRow& row, const float* x, size_t x_step, int count, float* sums) {
  run(weight, row, x, x_step, count, sums, [&](size_t chunk, size_t l, size_t s) {
    const uint8_t byte = row.code[chunk / 8 * 64 + 4 * l + chunk % 8 / 2];  // words are little-endian
    return weight.values[16 * row.table[s] + (chunk % 2 ? byte >> 4 : byte & 15)];
  });
}

inline void levels(const Codes& weight, const CodeRow& row, const float* x, size_t x_step, int count, float* sums) {
  run(weight, row, x, x_step, count, sums, [&](size_t chunk, size_t l, size_t s) { return float(row.code[chunk * kChunk + l]) - row.zero[s]; });
}

inline void bytes(const Codes& weight, const CodeRow& row, const float* x, size_t x_step, int count, float* sums) {
  run(weight, row, x, x_step, count, sums, [&](size_t chunk, size_t l, size_t) { return weight.values[row.code[chunk * kChunk + l]]; });
}

}  // namespace codes_scalar

inline CodesKernels codes_kernels_scalar() { return {"scalar", codes_scalar::nibbles, codes_scalar::levels, codes_scalar::bytes, nullptr}; }

}  // namespace tersenet
