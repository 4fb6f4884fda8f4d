// wsell8.h for ARM: a window of 64 columns is one table of tbl. A u8 is taken less 128, as in int8_neon.cpp.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr int kParts = int(kWsell8Slots) / 16;
constexpr uint32_t kSumSteps = 128;  // 128 times two weights of at most 127 fit 16 bits

void group_of(const uint8_t* slot, const uint32_t* base, uint32_t steps, const uint8_t* x, int32_t* sums) {
  int32x4_t sum[kParts] = {}, total[kParts] = {};
  for (uint32_t s = 0; s < steps;) {
    int16x8_t part[kParts] = {};
    for (const uint32_t end = s + kSumSteps < steps ? s + kSumSteps : steps; s < end; ++s, slot += Wsell8::step_bytes(false)) {
      uint8x16x4_t window = vld1q_u8_x4(x + base[s]);
      for (uint8x16_t& quarter : window.val) quarter = veorq_u8(quarter, vdupq_n_u8(128));
      for (int h = 0; h < kParts; ++h) {
        const int8x16_t found = vreinterpretq_s8_u8(vqtbl4q_u8(window, vld1q_u8(slot + 16 * h)));
        const int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(slot + kWsell8Slots + 16 * h));
        const int16x8_t low = vmull_s8(vget_low_s8(found), vget_low_s8(w)), high = vmull_high_s8(found, w);
        sum[h] = vpadalq_s16(sum[h], vpaddq_s16(low, high));  // two products of at most 128 * 127 fit 16 bits
        part[h] = vpadalq_s8(part[h], w);
      }
    }
    for (int h = 0; h < kParts; ++h) total[h] = vpadalq_s16(total[h], part[h]);
  }
  for (int h = 0; h < kParts; ++h) vst1q_s32(sums + 4 * h, vaddq_s32(sum[h], vshlq_n_s32(total[h], 7)));
}

}  // namespace

void wsell8_run_neon(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums) {
  for (uint32_t g = from; g < to; ++g) {
    const size_t first = weight.start[g];
    for (int b = 0; b < count; ++b, sums += kWsell8Rows) {
      group_of(weight.slot + first * Wsell8::step_bytes(false), weight.base + first, weight.start[g + 1] - weight.start[g], x + size_t(b) * x_step, sums);
    }
  }
}

}  // namespace tersenet
#endif
