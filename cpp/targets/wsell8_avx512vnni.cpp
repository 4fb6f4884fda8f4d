// wsell8.h in AVX-512 with VBMI and VNNI: the window is held in two registers and the codebook in one, so that 64 lookups
// of each are one instruction, vpermi2b and vpermb; vpdpbusd multiplies and adds four neighbours.
#if defined(TERSENET_AVX512VNNI)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

// Bit 4 of each byte of `places` >> 3, the others of `codes`; beyond bit 4 anything, which the codebook does not tell apart.
inline __m512i joined(__m512i codes, __m512i places) {
  return _mm512_ternarylogic_epi64(_mm512_set1_epi8(16), _mm512_srli_epi16(places, 3), codes, 0xca);
}

template <bool kShared, int kCount>
inline void group_of(const uint8_t* slot, const uint32_t* base, uint32_t steps, const uint8_t* x, size_t x_step, __m512i codebook, int32_t* sums) {
  __m512i low[kCount], high[kCount];
  for (int b = 0; b < kCount; ++b) low[b] = high[b] = _mm512_setzero_si512();
#pragma GCC unroll 2
  for (uint32_t s = 0; s < steps; ++s, slot += Wsell8::step_bytes(kShared)) {
    const __m512i at0 = _mm512_loadu_si512(slot), at1 = _mm512_loadu_si512(slot + 64), codes = _mm512_loadu_si512(slot + 128);
    const __m512i w0 = kShared ? _mm512_permutexvar_epi8(joined(codes, at0), codebook) : codes;
    const __m512i w1 = kShared ? _mm512_permutexvar_epi8(joined(_mm512_srli_epi16(codes, 4), at1), codebook) : _mm512_loadu_si512(slot + 192);
    const uint8_t* window = x + base[s];
#pragma GCC unroll 6
    for (int b = 0; b < kCount; ++b) {
      const __m512i x0 = _mm512_loadu_si512(window + b * x_step), x1 = _mm512_loadu_si512(window + b * x_step + 64);
      low[b] = _mm512_dpbusd_epi32(low[b], _mm512_permutex2var_epi8(x0, at0, x1), w0);
      high[b] = _mm512_dpbusd_epi32(high[b], _mm512_permutex2var_epi8(x0, at1, x1), w1);
    }
  }
  for (int b = 0; b < kCount; ++b) {
    _mm512_storeu_si512(sums + b * kWsell8Rows, low[b]);
    _mm512_storeu_si512(sums + b * kWsell8Rows + 16, high[b]);
  }
}

template <bool kShared>
void run(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums) {
  const __m512i codebook = kShared ? _mm512_loadu_si512(weight.codebook) : _mm512_setzero_si512();
  for (uint32_t g = from; g < to; ++g, sums += size_t(count) * kWsell8Rows) {
    const uint32_t first = weight.start[g], steps = weight.start[g + 1] - first;
    const uint8_t* slot = weight.slot + first * Wsell8::step_bytes(kShared);
    const uint32_t* base = weight.base + first;
    switch (count) {
      case 1: group_of<kShared, 1>(slot, base, steps, x, x_step, codebook, sums); break;
      case 2: group_of<kShared, 2>(slot, base, steps, x, x_step, codebook, sums); break;
      case 3: group_of<kShared, 3>(slot, base, steps, x, x_step, codebook, sums); break;
      case 4: group_of<kShared, 4>(slot, base, steps, x, x_step, codebook, sums); break;
      case 5: group_of<kShared, 5>(slot, base, steps, x, x_step, codebook, sums); break;
      default: group_of<kShared, 6>(slot, base, steps, x, x_step, codebook, sums); break;
    }
  }
}

}  // namespace

void wsell8_run_avx512vnni(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums) {
  if (weight.codebook) return run<true>(weight, from, to, x, x_step, count, sums);
  run<false>(weight, from, to, x, x_step, count, sums);
}

}  // namespace tersenet
#endif
