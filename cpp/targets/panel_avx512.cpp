#if defined(TERSENET_AVX512)
#include <immintrin.h>
#include <stdint.h>

#define TERSENET_BLOCK_VECTORS 4

namespace tersenet {
namespace {

using vec = __m512;
constexpr int kLanes = 16, kBlockVectors = TERSENET_BLOCK_VECTORS;
inline vec v_load(const float* x) { return _mm512_loadu_ps(x); }
inline void v_store(float* y, vec v) { _mm512_storeu_ps(y, v); }
inline vec v_set(float x) { return _mm512_set1_ps(x); }
inline vec v_zero() { return _mm512_setzero_ps(); }
inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
inline vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
inline vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); }
inline vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
inline vec v_larger(vec a, vec b) { return _mm512_mask_mov_ps(a, __mmask16(_mm512_cmp_ps_mask(b, a, _CMP_GT_OQ) | _mm512_cmp_ps_mask(b, b, _CMP_UNORD_Q)), b); }

inline __mmask16 first(int n) { return __mmask16((1u << n) - 1); }
inline vec v_load_part(const float* x, int n) { return _mm512_maskz_loadu_ps(first(n), x); }
inline void v_store_part(float* y, vec v, int n) { _mm512_mask_storeu_ps(y, first(n), v); }

inline void v_split(vec a, vec b, vec& even, vec& odd) {
  const __m512i pick = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  even = _mm512_permutex2var_ps(a, pick, b);
  odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(pick, _mm512_set1_epi32(1)), b);
}

inline void v_zip(vec a, vec b, vec& low, vec& high) {
  const __m512i pick = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  low = _mm512_permutex2var_ps(a, pick, b);
  high = _mm512_permutex2var_ps(a, _mm512_add_epi32(pick, _mm512_set1_epi32(8)), b);
}

inline __m512i codes_of(const uint8_t* code) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code))); }
inline vec v_bytes(const uint8_t* code) { return _mm512_cvtepi32_ps(codes_of(code)); }

inline vec v_six_each(const float* at, int i) {
  const __m512i place[3] = {_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2), _mm512_setr_epi32(2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5, 5),
                            _mm512_setr_epi32(5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7)};
  return _mm512_permutexvar_ps(place[i], v_load(at));
}
}  // namespace
}  // namespace tersenet

#include "tersenet/kernels/panel_codes_loop.h"
#include "tersenet/kernels/winograd_loop.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

void panel_table(const uint8_t* code, size_t n, const float* values, size_t count, float* to) {
  const vec low = v_load(values), high = v_load(values + kLanes);
  if (count <= 16) {
    panel_look_up(code, n, to, [&](const uint8_t* at) { return _mm512_permutexvar_ps(codes_of(at), low); });
  } else if (count <= 32) {
    panel_look_up(code, n, to, [&](const uint8_t* at) { return _mm512_permutex2var_ps(low, codes_of(at), high); });
  } else {
    panel_look_up(code, n, to, [&](const uint8_t* at) { return _mm512_i32gather_ps(codes_of(at), values, 4); });
  }
}

}  // namespace

PanelKernels panel_kernels_avx512() { return {"avx512", panel_dense, panel_sparse, panel_finish, panel_depthwise, panel_vector, panel_largest, panel_gather, panel_spread, panel_turn, panel_split, {winograd_input, winograd_output}, {"avx512", panel_table, panel_grid, panel_columns}}; }

}  // namespace tersenet
#endif
