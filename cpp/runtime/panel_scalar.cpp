// The scalar column of panel.h: one lane.
#define TERSENET_BLOCK_VECTORS 4

namespace tersenet {
namespace {

using vec = float;
constexpr int kLanes = 1, kBlockVectors = TERSENET_BLOCK_VECTORS;
inline vec v_load(const float* x) { return *x; }
inline void v_store(float* y, vec v) { *y = v; }
inline vec v_set(float x) { return x; }
inline vec v_zero() { return 0; }
inline vec v_fma(vec a, vec b, vec c) { return a * b + c; }
inline vec v_add(vec a, vec b) { return a + b; }
inline vec v_sub(vec a, vec b) { return a - b; }
inline vec v_min(vec bound, vec x) { return bound < x ? bound : x; }
inline vec v_max(vec bound, vec x) { return bound > x ? bound : x; }
inline vec v_larger(vec a, vec b) { return (b > a) | (b != b) ? b : a; }

inline vec v_load_part(const float* x, int n) { return n ? *x : 0; }

inline void v_store_part(float* y, vec v, int n) {
  if (n) *y = v;
}

inline void v_split(vec a, vec b, vec& even, vec& odd) {
  even = a;
  odd = b;
}

inline void v_zip(vec a, vec b, vec& low, vec& high) {
  low = a;
  high = b;
}
}  // namespace
}  // namespace tersenet

#include "tersenet/kernels/winograd_loop.h"

namespace tersenet {

PanelKernels panel_kernels_scalar() { return {"scalar", panel_dense, panel_sparse, panel_finish, panel_depthwise, panel_vector, panel_largest, panel_gather, panel_spread, panel_turn, panel_split, {winograd_input, winograd_output}, {"scalar", panel_table_scalar, panel_grid_scalar, panel_columns_scalar}}; }

}  // namespace tersenet
