// panel_codes_loop.h - the loops of panel_codes.h on vectors. A column defines, beside what panel_loop.h needs, v_sub, v_mul and
//
//   v_bytes(code)      kLanes bytes as floats
//   v_six_each(at, i)  vector i of three that hold at[0] six times, then at[1] six times, ...; reads at most 16 of them
#pragma once

#include <string.h>

#include "tersenet/kernels/panel_codes.h"

namespace tersenet {
namespace {

constexpr int kTurn = 3;  // vectors, after which lanes meet the same rows again
static_assert(kTurn * kLanes % kPanelRows == 0 && kTurn * kLanes - 1 <= int(kCodesBehind), "");

void panel_grid(const uint8_t* code, size_t n, const float* step, const float* zero, float* to) {
  float steps[4 * kPanelRows], zeros[4 * kPanelRows];
  for (int i = 0; i < 4; ++i) {
    memcpy(steps + i * kPanelRows, step, kPanelRows * sizeof(float));
    memcpy(zeros + i * kPanelRows, zero, kPanelRows * sizeof(float));
  }
  vec by[kTurn], from[kTurn];
  for (int i = 0; i < kTurn; ++i) {
    by[i] = v_load(steps + i * kLanes % kPanelRows);
    from[i] = v_load(zeros + i * kLanes % kPanelRows);
  }
  for (size_t j = 0; j < n; j += kTurn * kLanes, code += kTurn * kLanes, to += kTurn * kLanes) {
#pragma GCC unroll 3
    for (int i = 0; i < kTurn; ++i) v_store(to + i * kLanes, v_mul(v_sub(v_bytes(code + i * kLanes), from[i]), by[i]));
  }
}

void panel_columns(const uint8_t* code, size_t n, const float* step, const float* zero, float* to) {
  constexpr int kColumns = kTurn * kLanes / kPanelRows;
  for (size_t j = 0; j < n; j += kTurn * kLanes, code += kTurn * kLanes, to += kTurn * kLanes, step += kColumns, zero += kColumns) {
#pragma GCC unroll 3
    for (int i = 0; i < kTurn; ++i) v_store(to + i * kLanes, v_mul(v_sub(v_bytes(code + i * kLanes), v_six_each(zero, i)), v_six_each(step, i)));
  }
}

// look_up(code) gives the values of kLanes codes.
template <class LookUp>
inline void panel_look_up(const uint8_t* code, size_t n, float* to, const LookUp& look_up) {
  for (size_t j = 0; j < n; j += kLanes) v_store(to + j, look_up(code + j));
}

}  // namespace
}  // namespace tersenet
