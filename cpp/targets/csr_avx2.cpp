#if defined(TERSENET_AVX2)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

inline __m256i load_columns(const uint16_t* col) { return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(col))); }
inline __m256i load_columns(const uint32_t* col) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(col)); }

inline float sum_of(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

template <class Col>
inline void run(const uint32_t* row_start, const Col* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums) {
  for (uint32_t r = from; r < to; ++r) {
    uint32_t e = row_start[r];
    const uint32_t end = row_start[r + 1];
    __m256 a = _mm256_setzero_ps(), b = a;
    for (; e + 16 <= end; e += 16) {
      a = _mm256_fmadd_ps(_mm256_i32gather_ps(x, load_columns(col + e), 4), _mm256_loadu_ps(value + e), a);
      b = _mm256_fmadd_ps(_mm256_i32gather_ps(x, load_columns(col + e + 8), 4), _mm256_loadu_ps(value + e + 8), b);
    }
    float rest = 0;
    for (; e < end; ++e) rest += value[e] * x[col[e]];
    sums[r - from] = sum_of(_mm256_add_ps(a, b)) + rest;
  }
}

}  // namespace

void csr16_run_avx2(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums) {
  run(row_start, static_cast<const uint16_t*>(col), value, from, to, x, sums);
}

// Columns are below 2^31, as the gather wants.
void csr32_run_avx2(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums) {
  run(row_start, static_cast<const uint32_t*>(col), value, from, to, x, sums);
}

}  // namespace tersenet
#endif
