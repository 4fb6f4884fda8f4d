// int8.h for ARM. A u8 less 128 is an i8, and two products of such with weights fit 16 bits (2 * 128 * 127 < 2^15); 128 times
// the sum of a row's weights comes back at the end.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr int kLanes = 4;
constexpr size_t kSumQuads = 128;  // 128 times two weights of at most 127 fit 16 bits

bool range(const float* x, size_t n, float* low, float* high) {
  float32x4_t least = vdupq_n_f32(0), most = least;
  uint32x4_t sound = vdupq_n_u32(~0u);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const float32x4_t v = vld1q_f32(x + i);
    least = vminnmq_f32(least, v);  // of a NaN the other one
    most = vmaxnmq_f32(most, v);
    sound = vandq_u32(sound, vceqzq_f32(vsubq_f32(v, v)));  // 0 but for NaN and Inf
  }
  const bool rest = int8_scalar::range(x + i, n - i, low, high);
  const float lows = vminnmvq_f32(least), highs = vmaxnmvq_f32(most);
  *low = lows < *low ? lows : *low;
  *high = highs > *high ? highs : *high;
  return rest && vminvq_u32(sound) != 0;
}

// The bytes of eight values: ties to even, a NaN (which only an inverse of 0 meets) to 0, and the ends by saturation.
inline uint8x8_t to_bytes(const float* x, float32x4_t inverse, int32x4_t zero) {
  const int32x4_t low = vqaddq_s32(vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x), inverse)), zero);
  const int32x4_t high = vqaddq_s32(vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + 4), inverse)), zero);
  return vqmovun_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
}

void bytes(const float* x, size_t n, const Int8Range& range, uint8_t* to) {
  const float32x4_t inverse = vdupq_n_f32(range.inverse);
  const int32x4_t zero = vdupq_n_s32(range.zero);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) vst1_u8(to + i, to_bytes(x + i, inverse, zero));
  int8_scalar::bytes(x + i, n - i, range, to + i);
}

void quads(const float* const x[4], size_t n, const Int8Range& range, uint8_t* to) {
  const float32x4_t inverse = vdupq_n_f32(range.inverse);
  const int32x4_t zero = vdupq_n_s32(range.zero);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint8x8x4_t four;
    for (int k = 0; k < 4; ++k) four.val[k] = x[k] ? to_bytes(x[k] + i, inverse, zero) : vdup_n_u8(uint8_t(range.zero));
    vst4_u8(to + 4 * i, four);
  }
  const float* rest[4];
  for (int k = 0; k < 4; ++k) rest[k] = x[k] ? x[k] + i : nullptr;
  int8_scalar::quads(rest, n - i, range, to + 4 * i);
}

inline int8x16_t quad_at(const void* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

inline int8x16_t less_128(int8x16_t x) { return veorq_s8(x, vdupq_n_s8(-128)); }
inline int8x16_t load_x(const uint8_t* from) { return less_128(vreinterpretq_s8_u8(vld1q_u8(from))); }

// Four sums of quads, two quads at a time: low has the halves of the first two, high of the others.
struct Sums {
  int32x4_t low, high;

  void add(int8x16_t a0, int8x16_t b0, int8x16_t a1, int8x16_t b1) {
    const int16x8_t first = vmlal_s8(vmull_s8(vget_low_s8(a0), vget_low_s8(b0)), vget_low_s8(a1), vget_low_s8(b1));
    low = vpadalq_s16(low, first);
    high = vpadalq_s16(high, vmlal_high_s8(vmull_high_s8(a0, b0), a1, b1));
  }
  int32x4_t all() const { return vpaddq_s32(low, high); }
};

// total[h] += the sums of the four quads at block + kApart * h, and of those `step` bytes further on, `quads` times.
template <int kCount, int kApart>
inline void add_weights(const int8_t* block, size_t quads, size_t step, int32x4_t* total) {
  while (quads > 0) {
    const size_t now = quads < kSumQuads ? quads : kSumQuads;
    int16x8_t part[kCount];
    for (int h = 0; h < kCount; ++h) part[h] = vdupq_n_s16(0);
    for (size_t q = 0; q < now; ++q, block += step) {
      for (int h = 0; h < kCount; ++h) part[h] = vpadalq_s8(part[h], vld1q_s8(block + kApart * h));
    }
    for (int h = 0; h < kCount; ++h) total[h] = vpadalq_s16(total[h], part[h]);
    quads -= now;
  }
}

void vector(const int8_t* block, size_t quads, const uint8_t* x, int32_t* sums) {
  constexpr int kQuarters = kInt8Rows / 4, kStep = 4 * kInt8Rows;
  const int8x16_t none = vdupq_n_s8(0);
  Sums sum[kQuarters] = {};
  int32x4_t total[kQuarters] = {};
  for (size_t from = 0; from < quads; from += kSumQuads) {  // whose weights are read twice while they are near
    const size_t now = quads - from < kSumQuads ? quads - from : kSumQuads;
    add_weights<kQuarters, 16>(block, now, kStep, total);
    size_t q = from;
    for (; q + 2 <= from + now; q += 2, block += 2 * kStep) {
      const int8x16_t x0 = less_128(quad_at(x + 4 * q)), x1 = less_128(quad_at(x + 4 * q + 4));
      for (int h = 0; h < kQuarters; ++h) sum[h].add(vld1q_s8(block + 16 * h), x0, vld1q_s8(block + kStep + 16 * h), x1);
    }
    if (q == from + now) continue;
    const int8x16_t x0 = less_128(quad_at(x + 4 * q));
    for (int h = 0; h < kQuarters; ++h) sum[h].add(vld1q_s8(block + 16 * h), x0, none, none);
    block += kStep;
  }
  for (int h = 0; h < kQuarters; ++h) vst1q_s32(sums + 4 * h, vaddq_s32(sum[h].all(), vshlq_n_s32(total[h], 7)));
}

// Four columns of the panel; less[i] is what the 128s took off row i.
template <int kRows>
inline void columns_of(const int8_t* block, size_t quads, const uint8_t* panel, const int32_t* less, int32_t* acc, bool first) {
  constexpr int kStep = 4 * kPanelRows;
  const int8x16_t none = vdupq_n_s8(0);
  Sums sum[kRows] = {};
  size_t q = 0;
  for (; q + 2 <= quads; q += 2, panel += 8 * kPanel, block += 2 * kStep) {
    const int8x16_t x0 = load_x(panel), x1 = load_x(panel + 4 * kPanel);
    for (int i = 0; i < kRows; ++i) sum[i].add(x0, quad_at(block + 4 * i), x1, quad_at(block + kStep + 4 * i));
  }
  if (q < quads) {
    const int8x16_t x0 = load_x(panel);
    for (int i = 0; i < kRows; ++i) sum[i].add(x0, quad_at(block + 4 * i), none, none);
  }
  for (int i = 0; i < kRows; ++i) {
    const int32x4_t made = vaddq_s32(sum[i].all(), vdupq_n_s32(less[i]));
    vst1q_s32(acc + i * kPanel, first ? made : vaddq_s32(vld1q_s32(acc + i * kPanel), made));
  }
}

void panel(const int8_t* block, int rows, size_t quads, const uint8_t* panel, int width, int32_t* acc, bool first) {
  int32x4_t total[2] = {};
  add_weights<2, 8>(block, quads, 4 * kPanelRows, total);  // of rows 0 to 3, and of rows 2 to 5
  int32_t less[kPanelRows];
  for (int h = 0; h < 2; ++h) vst1q_s32(less + 2 * h, vshlq_n_s32(total[h], 7));
  for (int j = 0; j < width; j += kLanes, panel += 4 * kLanes, acc += kLanes) {
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

void scaled(const int32_t* acc, int32_t less, float scale, int n, float* y) {
  const int32x4_t subtract = vdupq_n_s32(less);
  int j = 0;
  for (; j + kLanes <= n; j += kLanes) vst1q_f32(y + j, vmulq_n_f32(vcvtq_f32_s32(vsubq_s32(vld1q_s32(acc + j), subtract)), scale));
  int8_scalar::scaled(acc + j, less, scale, n - j, y + j);
}

}  // namespace

Int8Kernels int8_kernels_neon() { return {"neon", range, bytes, quads, vector, panel, scaled}; }

}  // namespace tersenet
#endif
