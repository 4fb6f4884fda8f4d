#if defined(TERSENET_AVX2)
#include <immintrin.h>
#include <stdint.h>

#define TERSENET_BLOCK_VECTORS 2

namespace tersenet {
namespace {

using vec = __m256;
constexpr int kLanes = 8, kBlockVectors = TERSENET_BLOCK_VECTORS;
inline vec v_load(const float* x) { return _mm256_loadu_ps(x); }
inline void v_store(float* y, vec v) { _mm256_storeu_ps(y, v); }
inline vec v_set(float x) { return _mm256_set1_ps(x); }
inline vec v_zero() { return _mm256_setzero_ps(); }
inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
inline vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
inline vec v_min(vec a, vec b) { return _mm256_min_ps(a, b); }
inline vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }

inline __m256 v_in_order(__m256 v) { return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8)); }
inline vec v_larger(vec a, vec b) { return _mm256_blendv_ps(a, b, _mm256_or_ps(_mm256_cmp_ps(b, a, _CMP_GT_OQ), _mm256_cmp_ps(b, b, _CMP_UNORD_Q))); }

inline __m256i first(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
inline vec v_load_part(const float* x, int n) { return _mm256_maskload_ps(x, first(n)); }
inline void v_store_part(float* y, vec v, int n) { _mm256_maskstore_ps(y, first(n), v); }

inline void v_split(vec a, vec b, vec& even, vec& odd) {
  even = v_in_order(_mm256_shuffle_ps(a, b, 0x88));
  odd = v_in_order(_mm256_shuffle_ps(a, b, 0xdd));
}

inline void v_zip(vec a, vec b, vec& low, vec& high) {
  const __m256 even = _mm256_unpacklo_ps(a, b), odd = _mm256_unpackhi_ps(a, b);
  low = _mm256_permute2f128_ps(even, odd, 0x20);
  high = _mm256_permute2f128_ps(even, odd, 0x31);
}

inline __m256i codes_of(const uint8_t* code) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(code))); }
inline vec v_bytes(const uint8_t* code) { return _mm256_cvtepi32_ps(codes_of(code)); }

inline vec v_six_each(const float* at, int i) {
  const __m256i place[3] = {_mm256_setr_epi32(0, 0, 0, 0, 0, 0, 1, 1), _mm256_setr_epi32(1, 1, 1, 1, 2, 2, 2, 2), _mm256_setr_epi32(2, 2, 3, 3, 3, 3, 3, 3)};
  return _mm256_permutevar8x32_ps(v_load(at), place[i]);
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
  if (count <= 8) {
    panel_look_up(code, n, to, [&](const uint8_t* at) { return _mm256_permutevar8x32_ps(low, codes_of(at)); });
  } else if (count <= 16) {
    panel_look_up(code, n, to, [&](const uint8_t* at) {
      const __m256i codes = codes_of(at);  // bit 3 chooses
      return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, codes), _mm256_permutevar8x32_ps(high, codes), _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28)));
    });
  } else {
    panel_look_up(code, n, to, [&](const uint8_t* at) { return _mm256_i32gather_ps(values, codes_of(at), 4); });
  }
}

}  // namespace

PanelKernels panel_kernels_avx2() { return {"avx2", panel_dense, panel_sparse, panel_finish, panel_depthwise, panel_vector, panel_largest, panel_gather, panel_spread, panel_turn, panel_split, {winograd_input, winograd_output}, {"avx2", panel_table, panel_grid, panel_columns}}; }

}  // namespace tersenet
#endif
