// Sixteen gaps at a time: their running sum, and the columns of those that are no fillers moved together. A store that
// compresses is microcode on Zen 4, so they are moved in a register.
#if defined(TERSENET_AVX512)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {

void gap_columns_avx512(GapRun& run, uint8_t filler, uint64_t begin, uint64_t end) {
  const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi32(1), top = _mm512_set1_epi32(15);
  const __m128i fillers = _mm_set1_epi8(char(filler));
  const uint32_t length = uint32_t(end - begin);
  __m512i passed = _mm512_set1_epi32(int(run.where - begin));
  uint32_t column = uint32_t(run.where - begin);
  while (run.stop - run.gap >= 16 && run.last - run.to >= 16) {
    const __m128i gaps = _mm_loadu_si128(reinterpret_cast<const __m128i*>(run.gap));
    const __mmask16 there = _mm_cmpneq_epu8_mask(gaps, fillers);
    const __m512i gap = _mm512_cvtepu8_epi32(gaps);
    __m512i sum = _mm512_mask_add_epi32(gap, there, gap, one);  // places that it passes, its own included
    sum = _mm512_add_epi32(sum, _mm512_alignr_epi32(sum, zero, 15));
    sum = _mm512_add_epi32(sum, _mm512_alignr_epi32(sum, zero, 14));
    sum = _mm512_add_epi32(sum, _mm512_alignr_epi32(sum, zero, 12));
    sum = _mm512_add_epi32(sum, _mm512_alignr_epi32(sum, zero, 8));
    const __m512i after = _mm512_add_epi32(passed, sum);
    const __m512i all = _mm512_permutexvar_epi32(top, after);
    const uint32_t next = uint32_t(_mm_cvtsi128_si32(_mm512_castsi512_si128(all)));
    if (next >= length) break;
    _mm512_storeu_si512(run.to, _mm512_maskz_compress_epi32(there, _mm512_sub_epi32(after, one)));
    run.to += __builtin_popcount(there);
    run.gap += 16;
    passed = all;
    column = next;
  }
  run.where = begin + column;
}

}  // namespace tersenet
#endif
