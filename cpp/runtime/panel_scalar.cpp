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
inline vec v_min(vec bound, vec x) { return bound < x ? bound : x; }
inline vec v_max(vec bound, vec x) { return bound > x ? bound : x; }
inline vec v_larger(vec a, vec b) { return (b > a) | (b != b) ? b : a; }

inline void v_split(const float* x, float* even, float* odd) {
  *even = x[0];
  *odd = x[1];
}
}  // namespace
}  // namespace tersenet

#include "tersenet/kernels/panel_loop.h"

namespace tersenet {

PanelKernels panel_kernels_scalar() { return {"scalar", panel_dense, panel_sparse, panel_finish, panel_depthwise, panel_vector, panel_largest, panel_gather, panel_split}; }

}  // namespace tersenet
