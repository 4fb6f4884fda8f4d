// binary.h - weights of -a[row] and +a[row], one bit each, times vectors of floats, or of their signs.
//
// After Courbariaux et al. 2016, arXiv:1602.02830 (xnor and popcount), and Rastegari et al. 2016, arXiv:1603.05279, for
// the a of each row, which is multiplied in the end and does not appear here: a weight is -1 or +1. Rows fall into blocks
// of kBinaryRows, the last one filled with +1.
//
//   floats   a word of 32 bits holds 32 columns of a row: nibble g is columns 4 g .. 4 g + 3 of them. Its bit 3 says that
//            the last weight is -1, its bit i < 3 that weight i differs from the last. Word w of row r of a block is at
//            block[w * kBinaryRows + r]. Columns behind the last one have inputs of 0.
//            Four inputs have 16 sums of either sign, n of them in a table: table[16 g + n] for nibble n of four columns,
//            table[16 g + 8 + n] = -table[16 g + n]. A look-up then adds four products.
//   signs    a word of 64 bits holds 64 columns of a row: bit c says that the weight is -1. Word w of row r of a block is at
//            block[w * kBinaryRows + r]. An input is its sign, -1, 0 or 1: `negative` and `present` (not 0) are bits too.
//            With d = popcount((weight ^ negative) & present), the sum is popcount(present) - 2 d, exact.
//
// READ FIRST
//   1. Columns are below 2^31, so that counts and sums of signs fit in int32.
//   2. Bits of columns behind the last one are 0 in all three: they add nothing.
//   3. Of NaN the sign is 0, as PyTorch's.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

constexpr int kBinaryRows = 16;
// The vectors that one call of `differing` may take.
constexpr int kBinaryVectors = 4;

struct BinaryKernels {
  const char* floats;  // the column of `lookup`
  const char* signs;   // the column of `differing`
  // The table of a vector: 16 values for each four columns, `words` times 8 of them.
  void (*table)(const float* x, size_t cols, size_t words, float* table);
  // sums[b * kBinaryRows + r] of blocks that lie one behind the other
  void (*lookup)(const uint32_t* block, size_t blocks, size_t words, const float* table, float* sums);
  // Bits of cols inputs, words of 64; how many are present.
  size_t (*pack)(const float* x, size_t cols, uint64_t* negative, uint64_t* present);
  // counts[v * kBinaryRows + r] = the d of row r of a block and vector v < count. Vectors are x_step words apart.
  // `present` may be null, where all of all columns are.
  void (*differing)(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, size_t x_step, int count, int32_t* counts);
};

namespace binary_scalar {

inline void table(const float* x, size_t cols, size_t words, float* table) {
  for (size_t g = 0; g < 8 * words; ++g, table += 16) {
    float part[4];
    for (size_t i = 0; i < 4; ++i) part[i] = 4 * g + i < cols ? x[4 * g + i] : 0.0f;
    for (int n = 0; n < 8; ++n) {
      const float sum = ((n & 1 ? -part[0] : part[0]) + (n & 2 ? -part[1] : part[1])) + ((n & 4 ? -part[2] : part[2]) + part[3]);
      table[n] = sum;
      table[8 + n] = -sum;
    }
  }
}

inline void lookup(const uint32_t* block, size_t blocks, size_t words, const float* table, float* sums) {
  for (size_t b = 0; b < blocks; ++b, sums += kBinaryRows) {
    for (int r = 0; r < kBinaryRows; ++r) sums[r] = 0.0f;
    const float* from = table;
    for (size_t w = 0; w < words; ++w, block += kBinaryRows) {
      for (int g = 0; g < 8; ++g, from += 16) {
        for (int r = 0; r < kBinaryRows; ++r) sums[r] += from[block[r] >> 4 * g & 15];
      }
    }
  }
}

inline int popcount(uint64_t x) {
  x -= x >> 1 & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return int(x * 0x0101010101010101u >> 56);
}

inline size_t pack(const float* x, size_t cols, uint64_t* negative, uint64_t* present) {
  size_t count = 0;
  for (size_t w = 0; 64 * w < cols; ++w) {
    negative[w] = present[w] = 0;
    for (size_t c = 0; c < 64 && 64 * w + c < cols; ++c) {
      const float one = x[64 * w + c];
      negative[w] |= uint64_t(one < 0) << c;
      present[w] |= uint64_t(one < 0 || one > 0) << c;
    }
    count += size_t(popcount(present[w]));
  }
  return count;
}

inline void differing(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, size_t x_step, int count, int32_t* counts) {
  for (int v = 0; v < count; ++v, negative += x_step, counts += kBinaryRows) {
    for (int r = 0; r < kBinaryRows; ++r) {
      counts[r] = 0;
      for (size_t w = 0; w < words; ++w) {
        const uint64_t all = present ? present[size_t(v) * x_step + w] : ~uint64_t(0);
        counts[r] += popcount((block[w * kBinaryRows + size_t(r)] ^ negative[w]) & all);
      }
    }
  }
}

}  // namespace binary_scalar

inline BinaryKernels binary_kernels_scalar() {
  return {"scalar", "scalar", binary_scalar::table, binary_scalar::lookup, binary_scalar::pack, binary_scalar::differing};
}

}  // namespace tersenet
