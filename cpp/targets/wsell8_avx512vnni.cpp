// wsell8.h in AVX-512 with VBMI and VNNI: the window is held in two registers and the codebook in one, so that 64 lookups
// of each are one instruction, vpermi2b and vpermb; vpdpbusd multiplies and adds four neighbours.
#if defined(TERSENET_AVX512VNNI)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

template <bool kShared>
void run(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, int32_t* sums) {
  const __m512i codebook = kShared ? _mm512_loadu_si512(weight.codebook) : _mm512_setzero_si512();
  const auto values = [&](const uint8_t* codes) {
    const __m512i code = _mm512_loadu_si512(codes);
    return kShared ? _mm512_permutexvar_epi8(code, codebook) : code;
  };
  for (uint32_t g = from; g < to; ++g, sums += kWsell8Rows) {
    const uint32_t first = weight.start[g], steps = weight.start[g + 1] - first;
    const uint32_t* base = weight.base + first;
    const uint8_t* place = weight.place + size_t(first) * kWsell8Step;
    const uint8_t* code = weight.code + size_t(first) * kWsell8Step;
    __m512i low = _mm512_setzero_si512(), high = low;
#pragma GCC unroll 2
    for (uint32_t s = 0; s < steps; ++s, place += kWsell8Step, code += kWsell8Step) {
      const uint8_t* window = x + base[s];
      const __m512i x0 = _mm512_loadu_si512(window), x1 = _mm512_loadu_si512(window + 64);
      low = _mm512_dpbusd_epi32(low, _mm512_permutex2var_epi8(x0, _mm512_loadu_si512(place), x1), values(code));
      high = _mm512_dpbusd_epi32(high, _mm512_permutex2var_epi8(x0, _mm512_loadu_si512(place + 64), x1), values(code + 64));
    }
    _mm512_storeu_si512(sums, low);
    _mm512_storeu_si512(sums + 16, high);
  }
}

}  // namespace

void wsell8_run_avx512vnni(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, int32_t* sums) {
  if (weight.codebook) return run<true>(weight, from, to, x, sums);
  run<false>(weight, from, to, x, sums);
}

}  // namespace tersenet
#endif
