// int8.h with ARM's dot product, which adds four products of i8 to each sum: a u8 is taken less 128, and 128 times the sum of
// a row's weights comes back at the end.
#if defined(TERSENET_DOTPROD)
#include <arm_neon.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

inline int8x16_t less_128(uint8x16_t x) { return vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(128))); }

// Rows 4 h to 4 h + 3: their products with quad kQuad of x, and their weights.
template <int kQuad>
inline void add_quad(const int8_t* block, int8x16_t x, int32x4_t* sum, int32x4_t* total) {
  for (int h = 0; h < kInt8Rows / 4; ++h) {
    const int8x16_t w = vld1q_s8(block + 4 * kInt8Rows * kQuad + 16 * h);
    sum[h] = vdotq_laneq_s32(sum[h], w, x, kQuad);
    total[h] = vdotq_s32(total[h], w, vdupq_n_s8(1));
  }
}

void vector(const int8_t* block, size_t quads, const uint8_t* x, int32_t* sums) {
  constexpr int kQuarters = kInt8Rows / 4, kStep = 4 * kInt8Rows;
  int32x4_t sum[kQuarters] = {}, total[kQuarters] = {};
  size_t q = 0;
  for (; q + 4 <= quads; q += 4, block += 4 * kStep) {
    const int8x16_t four = less_128(vld1q_u8(x + 4 * q));
    add_quad<0>(block, four, sum, total);
    add_quad<1>(block, four, sum, total);
    add_quad<2>(block, four, sum, total);
    add_quad<3>(block, four, sum, total);
  }
  for (; q < quads; ++q, block += kStep) {
    uint32_t quad;
    __builtin_memcpy(&quad, x + 4 * q, 4);
    add_quad<0>(block, less_128(vreinterpretq_u8_u32(vdupq_n_u32(quad))), sum, total);
  }
  for (int h = 0; h < kQuarters; ++h) vst1q_s32(sums + 4 * h, vaddq_s32(sum[h], vshlq_n_s32(total[h], 7)));
}

constexpr int kVecs = 4, kColumns = 4 * kVecs;

// Row kRow and those after it, whose quads lie in `four` and, from row 4 on, in `two`.
template <int kRows, int kRow = 0>
inline void add_rows(int8x16_t four, int8x8_t two, const int8x16_t* x, int32x4_t (*sum)[kVecs]) {
  for (int h = 0; h < kVecs; ++h) {
    if constexpr (kRow < 4) sum[kRow][h] = vdotq_laneq_s32(sum[kRow][h], x[h], four, kRow);
    else sum[kRow][h] = vdotq_lane_s32(sum[kRow][h], x[h], two, kRow - 4);
  }
  if constexpr (kRow + 1 < kRows) add_rows<kRows, kRow + 1>(four, two, x, sum);
}

// Sixteen columns of the panel; less[i] is what the 128s took off row i.
template <int kRows>
inline void columns_of(const int8_t* block, size_t quads, const uint8_t* panel, const int32_t* less, int32_t* acc, bool first) {
  int32x4_t sum[kRows][kVecs];
  for (int i = 0; i < kRows; ++i) {
    for (int h = 0; h < kVecs; ++h) sum[i][h] = vdupq_n_s32(less[i]);
  }
  for (size_t q = 0; q < quads; ++q, panel += 4 * kPanel, block += 4 * kPanelRows) {
    int8x16_t x[kVecs];
    for (int h = 0; h < kVecs; ++h) x[h] = less_128(vld1q_u8(panel + 16 * h));
    add_rows<kRows>(vld1q_s8(block), vld1_s8(block + 16), x, sum);
  }
  for (int i = 0; i < kRows; ++i) {
    for (int h = 0; h < kVecs; ++h) {
      int32_t* to = acc + i * kPanel + 4 * h;
      vst1q_s32(to, first ? sum[i][h] : vaddq_s32(vld1q_s32(to), sum[i][h]));
    }
  }
}

void panel(const int8_t* block, int rows, size_t quads, const uint8_t* panel, int width, int32_t* acc, bool first) {
  int32x4_t total[2] = {};  // of rows 0 to 3, and of rows 2 to 5
  for (size_t q = 0; q < quads; ++q) {
    for (int h = 0; h < 2; ++h) total[h] = vdotq_s32(total[h], vld1q_s8(block + 4 * kPanelRows * q + 8 * h), vdupq_n_s8(1));
  }
  int32_t less[kPanelRows];
  for (int h = 0; h < 2; ++h) vst1q_s32(less + 2 * h, vshlq_n_s32(total[h], 7));
  for (int j = 0; j < width; j += kColumns, panel += 4 * kColumns, acc += kColumns) {
    switch (rows) {
      case 1: columns_of<1>(block, quads, panel, less, acc, first); break;
      case 2: columns_of<2>(block, quads, panel, less, acc, first); break;
      case 3: columns_of<3>(block, quads, panel, less, acc, first); break;
      case 4: columns_of<4>(block, quads, panel, less, acc, first); break;
      case 5: columns_of<5>(block, quads, panel, less, acc, first); break;
      default: columns_of<6>(block, quads, panel, less, acc, first); break;
    }
  }
}

}  // namespace

void add_int8_dotprod(Int8Kernels& kernels) {
  kernels.column = "dotprod";
  kernels.vector = vector;
  kernels.panel = panel;
}

}  // namespace tersenet
#endif
