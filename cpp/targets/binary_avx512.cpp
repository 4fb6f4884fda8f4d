// binary.h in AVX-512: a table of sums is one register, so that vpermps looks up four products of 16 rows.
#if defined(TERSENET_AVX512)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

inline __mmask16 lanes(size_t n) { return n >= 16 ? 0xffff : __mmask16((1u << n) - 1); }

// Lane n of the table adds part i with the sign of bit i of n; lanes 8 to 15 are those of the opposite sign.
void table(const float* x, size_t cols, size_t words, float* table) {
  const __m512i flip = _mm512_set1_epi32(int(0x80000000));
  for (size_t c = 0; c < 32 * words; c += 16) {
    const __m512 parts = _mm512_maskz_loadu_ps(c < cols ? lanes(cols - c) : 0, x + (c < cols ? c : 0));
    for (int g = 0; g < 4; ++g, table += 16) {
      const auto part = [&](int i, __mmask16 negative) {
        const __m512i one = _mm512_castps_si512(_mm512_permutexvar_ps(_mm512_set1_epi32(4 * g + i), parts));
        return _mm512_castsi512_ps(_mm512_mask_xor_epi32(one, negative, one, flip));
      };
      const __m512 two = _mm512_add_ps(part(0, 0x55aa), part(1, 0x33cc)), more = _mm512_add_ps(part(2, 0x0ff0), part(3, 0xff00));
      _mm512_storeu_ps(table, _mm512_add_ps(two, more));
    }
  }
}

template <int kBlocks>
inline void lookup_of(const uint32_t* block, size_t words, const float* table, float* sums) {
  __m512 even[kBlocks], odd[kBlocks];
  for (int b = 0; b < kBlocks; ++b) even[b] = odd[b] = _mm512_setzero_ps();
  for (size_t w = 0; w < words; ++w, table += 128) {
    __m512i word[kBlocks];
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) word[b] = _mm512_loadu_si512(block + (size_t(b) * words + w) * kBinaryRows);
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
      const __m512 sum = _mm512_loadu_ps(table + 16 * g);
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) {
        __m512& to = g % 2 ? odd[b] : even[b];
        to = _mm512_add_ps(to, _mm512_permutexvar_ps(word[b], sum));  // the low four bits count
        if (g < 7) word[b] = _mm512_srli_epi32(word[b], 4);
      }
    }
  }
  for (int b = 0; b < kBlocks; ++b) _mm512_storeu_ps(sums + b * kBinaryRows, _mm512_add_ps(even[b], odd[b]));
}

void lookup(const uint32_t* block, size_t blocks, size_t words, const float* table, float* sums) {
  for (; blocks >= 4; blocks -= 4, block += 4 * words * kBinaryRows, sums += 4 * kBinaryRows) lookup_of<4>(block, words, table, sums);
  for (; blocks; --blocks, block += words * kBinaryRows, sums += kBinaryRows) lookup_of<1>(block, words, table, sums);
}

size_t pack(const float* x, size_t cols, uint64_t* negative, uint64_t* present) {
  const __m512 zero = _mm512_setzero_ps();
  size_t count = 0;
  for (size_t c = 0; c < cols; c += 64) {
    uint64_t below = 0, other = 0;
    for (size_t i = 0; i < 64 && c + i < cols; i += 16) {
      const __m512 v = _mm512_maskz_loadu_ps(lanes(cols - c - i), x + c + i);
      below |= uint64_t(_mm512_cmp_ps_mask(v, zero, _CMP_LT_OQ)) << i;
      other |= uint64_t(_mm512_cmp_ps_mask(v, zero, _CMP_NEQ_OQ)) << i;
    }
    negative[c / 64] = below;
    present[c / 64] = other;
    count += size_t(__builtin_popcountll(other));
  }
  return count;
}

// Without vpopcntq: a table of the bits in four, and sums of bytes before they grow beyond 255.
constexpr size_t kFlush = 31;

template <bool kMasked>
inline void count_bits(const uint64_t* block, size_t words, const uint64_t* negative, const uint64_t* present, int32_t* counts) {
  const __m512i bits = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i low = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
  __m512i sum[2] = {zero, zero};
  for (size_t w = 0; w < words;) {
    const size_t end = w + kFlush < words ? w + kFlush : words;
    __m512i part[2] = {zero, zero};
    for (; w < end; ++w) {
      const __m512i x = _mm512_set1_epi64(int64_t(negative[w])), all = _mm512_set1_epi64(kMasked ? int64_t(present[w]) : -1);
      for (int h = 0; h < 2; ++h) {
        __m512i other = _mm512_xor_si512(_mm512_loadu_si512(block + w * kBinaryRows + 8 * h), x);
        if (kMasked) other = _mm512_and_si512(other, all);
        part[h] = _mm512_add_epi8(part[h], _mm512_shuffle_epi8(bits, _mm512_and_si512(other, low)));
        part[h] = _mm512_add_epi8(part[h], _mm512_shuffle_epi8(bits, _mm512_and_si512(_mm512_srli_epi32(other, 4), low)));
      }
    }
    for (int h = 0; h < 2; ++h) sum[h] = _mm512_add_epi64(sum[h], _mm512_sad_epu8(part[h], zero));
  }
  for (int h = 0; h < 2; ++h) _mm256_storeu_si256(reinterpret_cast<__m256i*>(counts + 8 * h), _mm512_cvtepi64_epi32(sum[h]));
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

void add_binary_avx512(BinaryKernels& kernels) { kernels = {"avx512", "avx512", table, lookup, pack, differing}; }

}  // namespace tersenet
#endif
