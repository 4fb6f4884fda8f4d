// binary.h for ARM: a table's eight sums are looked up as bytes; vcnt counts the bits of each byte.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kFlush = 31;  // words of at most 8 bits a byte before a byte is full

// Four rows' sums of a group: lane n of the table's first eight, with the sign of bit 3.
template <int kGroup>
inline float32x4_t found(uint8x16x2_t sums, uint32x4_t word) {
  const uint32x4_t nibble = kGroup ? vshrq_n_u32(word, kGroup ? 4 * kGroup : 1) : word;
  const uint32x4_t place = vandq_u32(nibble, vdupq_n_u32(7));
  const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), place, 0x04040404);
  const uint32x4_t one = vreinterpretq_u32_u8(vqtbl2q_u8(sums, vreinterpretq_u8_u32(bytes)));
  return vreinterpretq_f32_u32(veorq_u32(one, vshlq_n_u32(vandq_u32(nibble, vdupq_n_u32(8)), 28)));
}

template <int kGroup>
inline void add_groups(const float* table, const uint32x4_t* word, float32x4_t* sum) {
  uint8x16x2_t sums;
  sums.val[0] = vreinterpretq_u8_f32(vld1q_f32(table + 16 * kGroup));
  sums.val[1] = vreinterpretq_u8_f32(vld1q_f32(table + 16 * kGroup + 4));
  for (int h = 0; h < 4; ++h) sum[h] = vaddq_f32(sum[h], found<kGroup>(sums, word[h]));
  if constexpr (kGroup < 7) add_groups<kGroup + 1>(table, word, sum);
}

void lookup(const uint32_t* block, size_t blocks, size_t words, const float* table, float* sums) {
  for (size_t b = 0; b < blocks; ++b, sums += kBinaryRows) {
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    const float* from = table;
    for (size_t w = 0; w < words; ++w, block += kBinaryRows, from += 128) {
      const uint32x4_t word[4] = {vld1q_u32(block), vld1q_u32(block + 4), vld1q_u32(block + 8), vld1q_u32(block + 12)};
      add_groups<0>(from, word, sum);
    }
    for (int h = 0; h < 4; ++h) vst1q_f32(sums + 4 * h, sum[h]);
  }
}

template <bool kMasked>
inline void count_bits(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, int32_t* counts) {
  uint64x2_t sum[8];
  for (int h = 0; h < 8; ++h) sum[h] = vdupq_n_u64(0);
  for (size_t w = 0; w < words;) {
    const size_t end = w + kFlush < words ? w + kFlush : words;
    uint8x16_t part[8];
    for (int h = 0; h < 8; ++h) part[h] = vdupq_n_u8(0);
    for (; w < end; ++w) {
      const uint64x2_t x = vdupq_n_u64(negative[w]), all = vdupq_n_u64(kMasked ? present[w] : ~uint64_t(0));
      for (int h = 0; h < 8; ++h) {
        uint64x2_t other = veorq_u64(vld1q_u64(block + w * kBinaryRows + 2 * h), x);
        if (kMasked) other = vandq_u64(other, all);
        part[h] = vaddq_u8(part[h], vcntq_u8(vreinterpretq_u8_u64(other)));
      }
    }
    for (int h = 0; h < 8; ++h) sum[h] = vaddq_u64(sum[h], vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(part[h]))));
  }
  for (int h = 0; h < 8; ++h) {
    counts[2 * h] = int32_t(vgetq_lane_u64(sum[h], 0));
    counts[2 * h + 1] = int32_t(vgetq_lane_u64(sum[h], 1));
  }
}

void differing(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, size_t x_step, int count, int32_t* counts) {
  for (int v = 0; v < count; ++v, negative += x_step, counts += kBinaryRows) {
    if (present) {
      count_bits<true>(block, words, negative, present + size_t(v) * x_step, counts);
    } else {
      count_bits<false>(block, words, negative, nullptr, counts);
    }
  }
}

}  // namespace

// Its table and its packing stay the scalar ones, small parts of the work.
void add_binary_neon(BinaryKernels& kernels) {
  kernels.floats = kernels.signs = "neon";
  kernels.lookup = lookup;
  kernels.differing = differing;
}

}  // namespace tersenet
#endif
