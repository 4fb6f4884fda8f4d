// The rans loop on 32 lanes as two vectors of 16. AVX-512 gathers take 17 cycles each on Zen 4, so
// tables with scale 12 and byte symbols pack all of a slot into one 32-bit entry.
#if defined(TERSENET_AVX512)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

// Lanes below 2^16 take the next words in their order; 32 bytes from `words` are readable.
inline __m512i refill(__m512i x, const uint8_t*& words) {
  const __mmask16 low = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(int(kRansLower)));
  const __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
  words += 2 * __builtin_popcount(low);
  return _mm512_mask_or_epi32(x, low, _mm512_slli_epi32(x, 16), _mm512_maskz_expand_epi32(low, next));
}

template <bool kPacked, int kSymbolBytes>
inline __m512i step(const RansTable& table, __m512i x, __m512i mask, __m128i scale, uint8_t* out) {
  const __m512i slot = _mm512_and_si512(x, mask), high = _mm512_srl_epi32(x, scale);
  __m512i freq, bias, symbol;
  if (kPacked) {
    const __m512i low12 = _mm512_set1_epi32(0xfff);
    const __m512i entry = _mm512_i32gather_epi32(slot, table.packed, 4);
    freq = _mm512_and_si512(entry, low12);
    bias = _mm512_and_si512(_mm512_srli_epi32(entry, 12), low12);
    symbol = _mm512_srli_epi32(entry, 24);
  } else {
    const __m512i entry = _mm512_i32gather_epi32(slot, table.freq_bias, 4);
    freq = _mm512_and_si512(entry, _mm512_set1_epi32(0xffff));
    bias = _mm512_srli_epi32(entry, 16);
    symbol = _mm512_i32gather_epi32(slot, table.symbols, 2);  // the low half is ours
  }
  if (kSymbolBytes == 1) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(symbol));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(symbol));
  }
  return _mm512_add_epi32(_mm512_mullo_epi32(freq, high), bias);
}

template <bool kPacked, int kSymbolBytes>
size_t run_steps(const RansTable& table, RansRun& run) {
  const __m512i mask = _mm512_set1_epi32((1 << table.scale) - 1);
  const __m128i scale = _mm_cvtsi32_si128(table.scale);
  __m512i a = _mm512_loadu_si512(run.states), b = _mm512_loadu_si512(run.states + 16);
  const uint8_t* words = run.words;
  uint8_t* out = run.out;
  size_t done = 0;
  // A step takes at most 64 bytes, and its second refill loads 32 from at most 32 in.
  for (; done < run.steps && run.words_end - words >= 64; ++done, out += 32 * kSymbolBytes) {
    a = step<kPacked, kSymbolBytes>(table, a, mask, scale, out);
    b = step<kPacked, kSymbolBytes>(table, b, mask, scale, out + 16 * kSymbolBytes);
    a = refill(a, words);
    b = refill(b, words);
  }
  _mm512_storeu_si512(run.states, a);
  _mm512_storeu_si512(run.states + 16, b);
  run.words = words;
  run.out = out;
  return done;
}

}  // namespace

size_t rans_run_avx512(const RansTable& table, RansRun& run) {
  if (table.packed != nullptr) return run_steps<true, 1>(table, run);
  return run.symbol_bytes == 1 ? run_steps<false, 1>(table, run) : run_steps<false, 2>(table, run);
}

}  // namespace tersenet
#endif
