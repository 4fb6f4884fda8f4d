// WSELL-48 in AVX-512: x in the window and the codebook are each held in two registers, so that a lookup is vpermi2ps,
// which uses the low five bits of its index only.
#if defined(TERSENET_AVX512)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

// One vector has a function of its own: with raw local pointers and two steps at a time it is a fifth faster.
inline void run_one(const uint32_t* slot, const uint32_t* base, uint32_t steps, const float* x, __m512 c0, __m512 c1, float* sums) {
  __m512 a0 = _mm512_setzero_ps(), a1 = a0, a2 = a0;
#pragma GCC unroll 2
  for (uint32_t i = 0; i < steps; ++i) {
    const __m512i s = _mm512_loadu_si512(slot + 16 * size_t(i));
    const float* window = x + base[i];
    const __m512 x0 = _mm512_loadu_ps(window), x1 = _mm512_loadu_ps(window + 16);
    a0 = _mm512_fmadd_ps(_mm512_permutex2var_ps(x0, s, x1), _mm512_permutex2var_ps(c0, _mm512_srli_epi32(s, 5), c1), a0);
    a1 = _mm512_fmadd_ps(_mm512_permutex2var_ps(x0, _mm512_srli_epi32(s, 10), x1), _mm512_permutex2var_ps(c0, _mm512_srli_epi32(s, 15), c1), a1);
    a2 = _mm512_fmadd_ps(_mm512_permutex2var_ps(x0, _mm512_srli_epi32(s, 20), x1), _mm512_permutex2var_ps(c0, _mm512_srli_epi32(s, 25), c1), a2);
  }
  _mm512_storeu_ps(sums, a0);
  _mm512_storeu_ps(sums + 16, a1);
  _mm512_storeu_ps(sums + 32, a2);
}

template <int kCount>
inline void run_some(const uint32_t* slot, const uint32_t* base, uint32_t steps, const float* x, size_t x_step, const float* codebook, float* sums) {
  __m512 a[kCount][3];
  for (int b = 0; b < kCount; ++b) a[b][0] = a[b][1] = a[b][2] = _mm512_setzero_ps();
  const __m512 c0 = _mm512_loadu_ps(codebook), c1 = _mm512_loadu_ps(codebook + 16);
  for (uint32_t i = 0; i < steps; ++i) {
    const __m512i s0 = _mm512_loadu_si512(slot + 16 * size_t(i));
    const __m512i s1 = _mm512_srli_epi32(s0, 10), s2 = _mm512_srli_epi32(s0, 20);
    const __m512 w0 = _mm512_permutex2var_ps(c0, _mm512_srli_epi32(s0, 5), c1);
    const __m512 w1 = _mm512_permutex2var_ps(c0, _mm512_srli_epi32(s0, 15), c1);
    const __m512 w2 = _mm512_permutex2var_ps(c0, _mm512_srli_epi32(s0, 25), c1);
    const float* window = x + base[i];
#pragma GCC unroll 8
    for (int b = 0; b < kCount; ++b) {
      __m512 x0 = _mm512_loadu_ps(window + b * x_step), x1 = _mm512_loadu_ps(window + b * x_step + 16);
      asm("" : "+v"(x0), "+v"(x1));  // else the compiler loads each window three times, across cache lines
      a[b][0] = _mm512_fmadd_ps(_mm512_permutex2var_ps(x0, s0, x1), w0, a[b][0]);
      a[b][1] = _mm512_fmadd_ps(_mm512_permutex2var_ps(x0, s1, x1), w1, a[b][1]);
      a[b][2] = _mm512_fmadd_ps(_mm512_permutex2var_ps(x0, s2, x1), w2, a[b][2]);
    }
  }
  for (int b = 0; b < kCount; ++b) {
    for (int k = 0; k < 3; ++k) _mm512_storeu_ps(sums + b * kWsellRows + 16 * k, a[b][k]);
  }
}

}  // namespace

void wsell_run_avx512(const Wsell& weight, uint32_t from, uint32_t to, const float* x, size_t x_step, int count, float* sums) {
  const __m512 c0 = _mm512_loadu_ps(weight.codebook), c1 = _mm512_loadu_ps(weight.codebook + 16);
  for (uint32_t g = from; g < to; ++g, sums += size_t(count) * kWsellRows) {
    const uint32_t first = weight.start[g], steps = weight.start[g + 1] - first;
    const uint32_t* slot = weight.slot + 16 * size_t(first);
    const uint32_t* base = weight.base + first;
    switch (count) {
      case 1: run_one(slot, base, steps, x, c0, c1, sums); break;
      case 2: run_some<2>(slot, base, steps, x, x_step, weight.codebook, sums); break;
      case 3: run_some<3>(slot, base, steps, x, x_step, weight.codebook, sums); break;
      case 4: run_some<4>(slot, base, steps, x, x_step, weight.codebook, sums); break;
      case 5: run_some<5>(slot, base, steps, x, x_step, weight.codebook, sums); break;
      default: run_some<6>(slot, base, steps, x, x_step, weight.codebook, sums); break;
    }
  }
}

}  // namespace tersenet
#endif
