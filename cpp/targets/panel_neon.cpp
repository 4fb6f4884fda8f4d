#if defined(__aarch64__)
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define TERSENET_BLOCK_VECTORS 4

namespace tersenet {
namespace {

using vec = float32x4_t;
constexpr int kLanes = 4, kBlockVectors = TERSENET_BLOCK_VECTORS;
inline vec v_load(const float* x) { return vld1q_f32(x); }
inline void v_store(float* y, vec v) { vst1q_f32(y, v); }
inline vec v_set(float x) { return vdupq_n_f32(x); }
inline vec v_zero() { return vdupq_n_f32(0); }
inline vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
inline vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
inline vec v_sub(vec a, vec b) { return vsubq_f32(a, b); }
inline vec v_mul(vec a, vec b) { return vmulq_f32(a, b); }
inline vec v_min(vec a, vec b) { return vminq_f32(a, b); }  // NaN on either side wins
inline vec v_max(vec a, vec b) { return vmaxq_f32(a, b); }
inline vec v_larger(vec a, vec b) { return vmaxq_f32(a, b); }

inline vec v_load_part(const float* x, int n) {
  float lane[4] = {};
  for (int i = 0; i < n; ++i) lane[i] = x[i];
  return vld1q_f32(lane);
}

inline void v_store_part(float* y, vec v, int n) {
  float lane[4];
  vst1q_f32(lane, v);
  for (int i = 0; i < n; ++i) y[i] = lane[i];
}

inline void v_split(vec a, vec b, vec& even, vec& odd) {
  even = vuzp1q_f32(a, b);
  odd = vuzp2q_f32(a, b);
}

inline void v_zip(vec a, vec b, vec& low, vec& high) {
  low = vzip1q_f32(a, b);
  high = vzip2q_f32(a, b);
}

inline vec v_bytes(const uint8_t* code) {
  uint32_t four;
  memcpy(&four, code, sizeof four);
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
}

inline vec v_six_each(const float* at, int i) { return i == 1 ? vcombine_f32(vdup_n_f32(at[0]), vdup_n_f32(at[1])) : vdupq_n_f32(at[i / 2]); }
}  // namespace
}  // namespace tersenet

#include "tersenet/kernels/panel_codes_loop.h"
#include "tersenet/kernels/winograd_loop.h"
#include "tersenet/targets.h"

namespace tersenet {

PanelKernels panel_kernels_neon() { return {"neon", panel_dense, panel_sparse, panel_finish, panel_depthwise, panel_vector, panel_largest, panel_gather, panel_spread, panel_turn, panel_split, {winograd_input, winograd_output}, {"neon", panel_table_scalar, panel_grid, panel_columns}}; }

}  // namespace tersenet
#endif
