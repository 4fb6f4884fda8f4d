// WSELL-48 in AVX-512: x in the window and the codebook are each held in two registers, so that a lookup is vpermi2ps,
// which uses the low five bits of its index only.
#if defined(TERSENET_AVX512)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kAhead = 1024;  // words, 4 KB: a Xeon with a distant third-level cache gains 8 %, a Zen 4 nothing

// One vector has a function of its own: with raw local pointers and two steps at a time it is a fifth faster.
inline void run_one(const uint32_t* slot, const uint32_t* base, uint32_t steps, const float* x, __m512 c0, __m512 c1, float* sums) {
  __m512 a0 = _mm512_setzero_ps(), a1 = a0, a2 = a0;
#pragma GCC unroll 2
  for (uint32_t i = 0; i < steps; ++i) {
    __builtin_prefetch(slot + 16 * size_t(i) + kAhead);
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

// The next words of 48 rows are three registers, and so are the places they come from.
uint32_t wsell_pack_avx512(const uint32_t* word, const uint32_t* begin, const uint32_t* end, uint32_t last, uint32_t* base, uint32_t* slot) {
  const __m512i done = _mm512_set1_epi32(-1), one = _mm512_set1_epi32(1), code = _mm512_set1_epi32(31);
  __m512i cursor[3], stop[3], next[3];
  const auto more = [&](int i, __mmask16 asked) {
    return _mm512_mask_i32gather_epi32(done, asked & _mm512_cmplt_epu32_mask(cursor[i], stop[i]), cursor[i], word, 4);
  };
  for (int i = 0; i < 3; ++i) {
    cursor[i] = _mm512_loadu_si512(begin + 16 * i);
    stop[i] = _mm512_loadu_si512(end + 16 * i);
    next[i] = more(i, 0xffff);
  }
  for (uint32_t steps = 0;; ++steps, slot += 16) {
    const uint32_t first = _mm512_reduce_min_epu32(_mm512_min_epu32(next[0], _mm512_min_epu32(next[1], next[2])));
    if (first == kWsellDone) return steps;
    const uint32_t window = first >> 5 < last ? first >> 5 : last;
    base[steps] = window;
    const __m512i from = _mm512_set1_epi32(int(window)), limit = _mm512_set1_epi32(int((window + kWsellWindow) << 5));
    __m512i step = _mm512_setzero_si512();
#pragma GCC unroll 3
    for (int i = 2; i >= 0; --i) {
      const __mmask16 inside = _mm512_cmplt_epu32_mask(next[i], limit);
      const __m512i offset = _mm512_sub_epi32(_mm512_srli_epi32(next[i], 5), from);
      const __m512i field = _mm512_or_si512(offset, _mm512_slli_epi32(_mm512_and_si512(next[i], code), 5));
      step = _mm512_or_si512(_mm512_slli_epi32(step, 10), _mm512_maskz_mov_epi32(inside, field));
      cursor[i] = _mm512_mask_add_epi32(cursor[i], inside, cursor[i], one);
      next[i] = _mm512_mask_mov_epi32(next[i], inside, more(i, inside));
    }
    _mm512_storeu_si512(slot, step);
  }
}

}  // namespace tersenet
#endif
