// codes.h for ARM: 16 values are four registers, from which tbl takes the bytes of four values; codes of eight bits are
// looked up one by one.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

using vec = float32x4_t;
constexpr int kLanes = 4;
inline vec v_load(const float* x) { return vld1q_f32(x); }
inline vec v_set(float x) { return vdupq_n_f32(x); }
inline vec v_zero() { return vdupq_n_f32(0); }
inline vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
inline vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
inline vec v_mul(vec a, vec b) { return vmulq_f32(a, b); }
inline float v_sum(vec v) { return vaddvq_f32(v); }

struct Nibbles {
  static constexpr size_t kBytes = 64;
  uint8x16x4_t values;
  uint32x4_t word[4];

  Nibbles(const Codes& weight, const CodeRow& row) { segment(weight, row, 0); }
  void block(const uint8_t* code) {
    for (int h = 0; h < 4; ++h) word[h] = vreinterpretq_u32_u8(vld1q_u8(code + 16 * h));
  }
  void segment(const Codes& weight, const CodeRow& row, size_t s) {
    for (int i = 0; i < 4; ++i) values.val[i] = vreinterpretq_u8_f32(v_load(weight.values + 16 * row.table[s] + 4 * i));
  }
  void chunk(int, vec* value) {
    for (int h = 0; h < 4; ++h) {
      const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), vandq_u32(word[h], vdupq_n_u32(15)), 0x04040404);
      value[h] = vreinterpretq_f32_u8(vqtbl4q_u8(values, vreinterpretq_u8_u32(bytes)));
      word[h] = vshrq_n_u32(word[h], 4);
    }
  }
};

struct Levels {
  static constexpr size_t kBytes = 128;
  const uint8_t* from;
  vec zero;

  Levels(const Codes&, const CodeRow& row) : zero(v_set(row.zero[0])) {}
  void block(const uint8_t* code) { from = code; }
  void segment(const Codes&, const CodeRow& row, size_t s) { zero = v_set(row.zero[s]); }
  void chunk(int j, vec* value) {
    const uint8x16_t codes = vld1q_u8(from + 16 * j);
    const uint16x8_t half[2] = {vmovl_u8(vget_low_u8(codes)), vmovl_u8(vget_high_u8(codes))};
    for (int h = 0; h < 4; ++h) {
      const uint16x4_t four = h % 2 ? vget_high_u16(half[h / 2]) : vget_low_u16(half[h / 2]);
      value[h] = vsubq_f32(vcvtq_f32_u32(vmovl_u16(four)), zero);
    }
  }
};

struct Bytes {
  static constexpr size_t kBytes = 128;
  const uint8_t* from;
  const float* values;

  Bytes(const Codes& weight, const CodeRow&) : values(weight.values) {}
  void block(const uint8_t* code) { from = code; }
  void segment(const Codes&, const CodeRow&, size_t) {}
  void chunk(int j, vec* value) {
    float each[kChunk];
    for (size_t l = 0; l < kChunk; ++l) each[l] = values[from[16 * size_t(j) + l]];
    for (int h = 0; h < 4; ++h) value[h] = v_load(each + 4 * h);
  }
};

}  // namespace
}  // namespace tersenet

#include "tersenet/kernels/codes_loop.h"

namespace tersenet {

CodesKernels codes_kernels_neon() { return {"neon", codes_run<Nibbles>, codes_run<Levels>, codes_run<Bytes>, nullptr}; }

}  // namespace tersenet
#endif
