// binary.h where AVX-512 counts bits itself (VPOPCNTDQ); look-ups are those of AVX-512.
#if defined(TERSENET_AVX512VNNI)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

template <bool kMasked, int kCount>
inline void count_bits(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, size_t x_step, int32_t* counts) {
  __m512i low[kCount], high[kCount];
  for (int v = 0; v < kCount; ++v) low[v] = high[v] = _mm512_setzero_si512();
#pragma GCC unroll 2
  for (size_t w = 0; w < words; ++w) {
    const __m512i w0 = _mm512_loadu_si512(block + w * kBinaryRows), w1 = _mm512_loadu_si512(block + w * kBinaryRows + 8);
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) {
      const __m512i x = _mm512_set1_epi64(int64_t(negative[size_t(v) * x_step + w]));
      __m512i d0 = _mm512_xor_si512(w0, x), d1 = _mm512_xor_si512(w1, x);
      if (kMasked) {
        const __m512i all = _mm512_set1_epi64(int64_t(present[size_t(v) * x_step + w]));
        d0 = _mm512_and_si512(d0, all);
        d1 = _mm512_and_si512(d1, all);
      }
      low[v] = _mm512_add_epi64(low[v], _mm512_popcnt_epi64(d0));
      high[v] = _mm512_add_epi64(high[v], _mm512_popcnt_epi64(d1));
    }
  }
  for (int v = 0; v < kCount; ++v, counts += kBinaryRows) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(counts), _mm512_cvtepi64_epi32(low[v]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(counts + 8), _mm512_cvtepi64_epi32(high[v]));
  }
}

template <bool kMasked>
inline void vectors_of(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, size_t x_step, int count, int32_t* counts) {
  switch (count) {
    case 1: return count_bits<kMasked, 1>(block, words, negative, present, x_step, counts);
    case 2: return count_bits<kMasked, 2>(block, words, negative, present, x_step, counts);
    case 3: return count_bits<kMasked, 3>(block, words, negative, present, x_step, counts);
    default: return count_bits<kMasked, 4>(block, words, negative, present, x_step, counts);
  }
}

void differing(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, size_t x_step, int count, int32_t* counts) {
  if (present) return vectors_of<true>(block, words, negative, present, x_step, count, counts);
  vectors_of<false>(block, words, negative, nullptr, x_step, count, counts);
}

}  // namespace

void add_binary_avx512vnni(BinaryKernels& kernels) {
  kernels.signs = "avx512vnni";
  kernels.differing = differing;
}

}  // namespace tersenet
#endif
