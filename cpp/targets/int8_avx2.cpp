// int8.h in AVX2. Two products of u8 and i8 fit 16 bits where the u8 is below 128, so a byte is taken as its low seven bits
// and its top one: those of the low ones are added up by pairs in 32 bits, those of the top ones in 16 bits a while.
#if defined(TERSENET_AVX2)
#include <immintrin.h>

#include "tersenet/kernels/int8.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr int kLanes = 8;
constexpr size_t kTopQuads = 128;  // 128 times two products of at most 127 fit 16 bits

bool range(const float* x, size_t n, float* low, float* high) {
  __m256 least = _mm256_setzero_ps(), most = least, sound = least;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const __m256 v = _mm256_loadu_ps(x + i);
    least = _mm256_min_ps(v, least);  // of a NaN the second one
    most = _mm256_max_ps(v, most);
    sound = _mm256_or_ps(sound, _mm256_sub_ps(v, v));  // 0 but for NaN and Inf
  }
  float lows[kLanes + 1], highs[kLanes + 1];
  _mm256_storeu_ps(lows, least);
  _mm256_storeu_ps(highs, most);
  const bool rest = int8_scalar::range(x + i, n - i, lows + kLanes, highs + kLanes);
  *low = *high = 0.0f;
  for (int k = 0; k <= kLanes; ++k) {
    *low = lows[k] < *low ? lows[k] : *low;
    *high = highs[k] > *high ? highs[k] : *high;
  }
  return rest && _mm256_movemask_ps(_mm256_cmp_ps(sound, _mm256_setzero_ps(), _CMP_NEQ_UQ)) == 0;
}

// The bytes of eight values, one in each 32 bits: ties to even as the rounding mode is; NaN only where the inverse is 0.
struct ToBytes {
  __m256 inverse, low, high;
  __m256i zero;

  explicit ToBytes(const Int8Range& range)
      : inverse(_mm256_set1_ps(range.inverse)), low(_mm256_set1_ps(float(-range.zero))), high(_mm256_set1_ps(float(255 - range.zero))), zero(_mm256_set1_epi32(range.zero)) {}

  __m256i operator()(__m256 x) const {
    const __m256 scaled = _mm256_mul_ps(x, inverse);
    const __m256 sound = _mm256_and_ps(scaled, _mm256_cmp_ps(scaled, scaled, _CMP_ORD_Q));
    return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(sound, low), high)), zero);
  }
};

void bytes(const float* x, size_t n, const Int8Range& range, uint8_t* to) {
  const ToBytes made(range);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const __m256i level = made(_mm256_loadu_ps(x + i));
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(level), _mm256_extracti128_si256(level, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to + i), _mm_packus_epi16(words, words));
  }
  int8_scalar::bytes(x + i, n - i, range, to + i);
}

void quads(const float* const x[4], size_t n, const Int8Range& range, uint8_t* to) {
  const ToBytes made(range);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const auto level = [&](int k) { return x[k] ? made(_mm256_loadu_ps(x[k] + i)) : made.zero; };
    const __m256i low = _mm256_or_si256(level(0), _mm256_slli_epi32(level(1), 8));
    const __m256i high = _mm256_or_si256(_mm256_slli_epi32(level(2), 16), _mm256_slli_epi32(level(3), 24));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 4 * i), _mm256_or_si256(low, high));
  }
  const float* rest[4];
  for (int k = 0; k < 4; ++k) rest[k] = x[k] ? x[k] + i : nullptr;
  int8_scalar::quads(rest, n - i, range, to + 4 * i);
}

inline __m256i quad_at(const void* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, 4);
  return _mm256_set1_epi32(quad);
}

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

// Sums of kCount vectors of eight, each u8 in parts times its i8.
template <int kCount>
struct Sums {
  __m256i low[kCount], top[kCount];

  void clear_top() {
    for (__m256i& one : top) one = _mm256_setzero_si256();
  }
  void add(int i, __m256i x_low, __m256i x_top, __m256i w) {
    low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(_mm256_maddubs_epi16(x_low, w), _mm256_set1_epi16(1)));
    top[i] = _mm256_add_epi16(top[i], _mm256_maddubs_epi16(x_top, w));
  }
  void join() {
    for (int i = 0; i < kCount; ++i) low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(top[i], _mm256_set1_epi16(128)));
    clear_top();
  }
};

inline __m256i low_bits(__m256i x) { return _mm256_and_si256(x, _mm256_set1_epi8(127)); }
inline __m256i top_bit(__m256i x) { return _mm256_and_si256(_mm256_srli_epi16(x, 7), _mm256_set1_epi8(1)); }

void vector(const int8_t* block, size_t quads, const uint8_t* x, int32_t* sums) {
  Sums<2> sum;
  for (__m256i& one : sum.low) one = _mm256_setzero_si256();
  sum.clear_top();
  for (size_t q = 0; q < quads;) {
    for (const size_t end = q + kTopQuads < quads ? q + kTopQuads : quads; q < end; ++q, block += 4 * kInt8Rows) {
      const __m256i quad = quad_at(x + 4 * q), low = low_bits(quad), top = top_bit(quad);
      sum.add(0, low, top, load(block));
      sum.add(1, low, top, load(block + 32));
    }
    sum.join();
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), sum.low[0]);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8), sum.low[1]);
}

// Eight columns of the panel.
template <int kRows>
inline void columns_of(const int8_t* block, size_t quads, const uint8_t* panel, int32_t* acc, bool first) {
  Sums<kRows> sum;
  for (int i = 0; i < kRows; ++i) sum.low[i] = first ? _mm256_setzero_si256() : load(acc + i * kPanel);
  sum.clear_top();
  for (size_t q = 0; q < quads;) {
    for (const size_t end = q + kTopQuads < quads ? q + kTopQuads : quads; q < end; ++q, panel += 4 * kPanel, block += 4 * kPanelRows) {
      const __m256i x = load(panel), low = low_bits(x), top = top_bit(x);
#pragma GCC unroll 6
      for (int i = 0; i < kRows; ++i) sum.add(i, low, top, quad_at(block + 4 * i));
    }
    sum.join();
  }
  for (int i = 0; i < kRows; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + i * kPanel), sum.low[i]);
}

void panel(const int8_t* block, int rows, size_t quads, const uint8_t* panel, int width, int32_t* acc, bool first) {
  for (int j = 0; j < width; j += kLanes, panel += 4 * kLanes, acc += kLanes) {
    switch (rows) {
      case 1: columns_of<1>(block, quads, panel, acc, first); break;
      case 2: columns_of<2>(block, quads, panel, acc, first); break;
      case 3: columns_of<3>(block, quads, panel, acc, first); break;
      case 4: columns_of<4>(block, quads, panel, acc, first); break;
      case 5: columns_of<5>(block, quads, panel, acc, first); break;
      default: columns_of<6>(block, quads, panel, acc, first); break;
    }
  }
}

void scaled(const int32_t* acc, int32_t less, float scale, int n, float* y) {
  const __m256i subtract = _mm256_set1_epi32(less);
  const __m256 factor = _mm256_set1_ps(scale);
  int j = 0;
  for (; j + kLanes <= n; j += kLanes) _mm256_storeu_ps(y + j, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(load(acc + j), subtract)), factor));
  int8_scalar::scaled(acc + j, less, scale, n - j, y + j);
}

}  // namespace

Int8Kernels int8_kernels_avx2() { return {"avx2", range, bytes, quads, vector, panel, scaled}; }

}  // namespace tersenet
#endif
