// wsell8.h in AVX2: a window of 64 columns is four tables of sixteen bytes for vpshufb, which gives 0 where the top bit of a
// place is set. Table j holds its bytes xor those of table j - 1, and is looked up at place - 16 j: the tables up to the
// place's own are those that answer, and their xor is its byte.
#if defined(TERSENET_AVX2)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr int kTables = 4, kParts = int(kWsell8Slots) / 32;
constexpr uint32_t kTopSteps = 128;  // 128 times two weights of at most 127 fit 16 bits

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

struct Window {
  __m256i table[kTables];

  explicit Window(const uint8_t* x) {
    for (int j = 0; j < kTables; ++j) table[j] = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 16 * j)));
    for (int j = kTables - 1; j > 0; --j) table[j] = _mm256_xor_si256(table[j], table[j - 1]);
  }
  __m256i at(__m256i place) const {
    __m256i found = _mm256_shuffle_epi8(table[0], place);
    for (int j = 1; j < kTables; ++j) {
      place = _mm256_sub_epi8(place, _mm256_set1_epi8(16));
      found = _mm256_xor_si256(found, _mm256_shuffle_epi8(table[j], place));
    }
    return found;
  }
};

// Low seven bits and top bit of a byte apart, as in int8_avx2.cpp.
void group_of(const uint8_t* slot, const uint32_t* base, uint32_t steps, const uint8_t* x, int32_t* sums) {
  const __m256i none = _mm256_setzero_si256();
  __m256i low[kParts] = {none, none, none, none};
  for (uint32_t s = 0; s < steps;) {
    __m256i top[kParts] = {none, none, none, none};
    for (const uint32_t end = s + kTopSteps < steps ? s + kTopSteps : steps; s < end; ++s, slot += Wsell8::step_bytes(false)) {
      const Window window(x + base[s]);
#pragma GCC unroll 4
      for (int h = 0; h < kParts; ++h) {
        const __m256i found = window.at(load(slot + 32 * h)), w = load(slot + kWsell8Slots + 32 * h);
        const __m256i seven = _mm256_and_si256(found, _mm256_set1_epi8(127)), one = _mm256_and_si256(_mm256_srli_epi16(found, 7), _mm256_set1_epi8(1));
        low[h] = _mm256_add_epi32(low[h], _mm256_madd_epi16(_mm256_maddubs_epi16(seven, w), _mm256_set1_epi16(1)));
        top[h] = _mm256_add_epi16(top[h], _mm256_maddubs_epi16(one, w));
      }
    }
    for (int h = 0; h < kParts; ++h) low[h] = _mm256_add_epi32(low[h], _mm256_madd_epi16(top[h], _mm256_set1_epi16(128)));
  }
  for (int h = 0; h < kParts; ++h) _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8 * h), low[h]);
}

}  // namespace

void wsell8_run_avx2(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums) {
  for (uint32_t g = from; g < to; ++g) {
    const size_t first = weight.start[g];
    for (int b = 0; b < count; ++b, sums += kWsell8Rows) {
      group_of(weight.slot + first * Wsell8::step_bytes(false), weight.base + first, weight.start[g + 1] - weight.start[g], x + size_t(b) * x_step, sums);
    }
  }
}

}  // namespace tersenet
#endif
