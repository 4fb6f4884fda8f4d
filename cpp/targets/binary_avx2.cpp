// binary.h in AVX2: eight sums of a table are one register; the others have the opposite sign.
#if defined(TERSENET_AVX2)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kFlush = 31;  // words of at most 8 bits a byte before a byte is full

void lookup(const uint32_t* block, size_t blocks, size_t words, const float* table, float* sums) {
  const __m256i top = _mm256_set1_epi32(int(0x80000000));
  for (size_t b = 0; b < blocks; ++b, sums += kBinaryRows) {
    __m256 low = _mm256_setzero_ps(), high = low;
    const float* from = table;
    for (size_t w = 0; w < words; ++w, block += kBinaryRows, from += 128) {
      const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
      const __m256i w1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 8));
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) {
        const __m256 sum = _mm256_loadu_ps(from + 16 * g);
        const auto found = [&](__m256i word) {
          const __m256 one = _mm256_permutevar8x32_ps(sum, _mm256_srli_epi32(word, 4 * g));  // the low three bits count
          return _mm256_xor_ps(one, _mm256_castsi256_ps(_mm256_and_si256(_mm256_slli_epi32(word, 28 - 4 * g), top)));
        };
        low = _mm256_add_ps(low, found(w0));
        high = _mm256_add_ps(high, found(w1));
      }
    }
    _mm256_storeu_ps(sums, low);
    _mm256_storeu_ps(sums + 8, high);
  }
}

size_t pack(const float* x, size_t cols, uint64_t* negative, uint64_t* present) {
  const __m256 zero = _mm256_setzero_ps();
  const size_t whole = cols / 64 * 64;
  size_t count = 0;
  for (size_t c = 0; c < whole; c += 64) {
    uint64_t below = 0, other = 0;
    for (size_t i = 0; i < 64; i += 8) {
      const __m256 v = _mm256_loadu_ps(x + c + i);
      below |= uint64_t(uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(v, zero, _CMP_LT_OQ)))) << i;
      other |= uint64_t(uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(v, zero, _CMP_NEQ_OQ)))) << i;
    }
    negative[c / 64] = below;
    present[c / 64] = other;
    for (; other; other &= other - 1) ++count;
  }
  if (whole == cols) return count;
  uint64_t below = 0, other = 0;
  for (size_t c = whole; c < cols; ++c) {
    below |= uint64_t(x[c] < 0) << (c - whole);
    other |= uint64_t(x[c] < 0 || x[c] > 0) << (c - whole);
  }
  negative[whole / 64] = below;
  present[whole / 64] = other;
  for (; other; other &= other - 1) ++count;
  return count;
}

// The bits of each byte by a table of the bits in four (Mula et al. 2018, arXiv:1611.07612, section 4).
template <bool kMasked>
inline void count_bits(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, int32_t* counts) {
  const __m256i bits = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
  __m256i sum[4] = {zero, zero, zero, zero};
  for (size_t w = 0; w < words;) {
    const size_t end = w + kFlush < words ? w + kFlush : words;
    __m256i part[4] = {zero, zero, zero, zero};
    for (; w < end; ++w) {
      const __m256i x = _mm256_set1_epi64x(int64_t(negative[w])), all = _mm256_set1_epi64x(kMasked ? int64_t(present[w]) : -1);
#pragma GCC unroll 4
      for (int h = 0; h < 4; ++h) {
        __m256i other = _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + w * kBinaryRows + 4 * h)), x);
        if (kMasked) other = _mm256_and_si256(other, all);
        part[h] = _mm256_add_epi8(part[h], _mm256_shuffle_epi8(bits, _mm256_and_si256(other, low)));
        part[h] = _mm256_add_epi8(part[h], _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi32(other, 4), low)));
      }
    }
    for (int h = 0; h < 4; ++h) sum[h] = _mm256_add_epi64(sum[h], _mm256_sad_epu8(part[h], zero));
  }
  int64_t each[4];
  for (int h = 0; h < 4; ++h) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(each), sum[h]);
    for (int i = 0; i < 4; ++i) counts[4 * h + i] = int32_t(each[i]);
  }
}

void differing(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, size_t x_step, int count, int32_t* counts) {
  for (int v = 0; v < count; ++v, negative += x_step, counts += kBinaryRows) {
    if (present) {
      count_bits<true>(block, words, negative, present + size_t(v) * x_step, counts);
    } else {
      count_bits<false>(block, words, negative, nullptr, counts);
    }
  }
}

}  // namespace

// Its table stays the scalar one, a small part of the work.
void add_binary_avx2(BinaryKernels& kernels) {
  kernels.floats = kernels.signs = "avx2";
  kernels.lookup = lookup;
  kernels.pack = pack;
  kernels.differing = differing;
}

}  // namespace tersenet
#endif
