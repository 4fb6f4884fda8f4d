// codes.h in AVX2: 16 values are two registers, between which bit 3 of a nibble chooses.
#if defined(TERSENET_AVX2)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

using vec = __m256;
constexpr int kLanes = 8;
inline vec v_load(const float* x) { return _mm256_loadu_ps(x); }
inline vec v_set(float x) { return _mm256_set1_ps(x); }
inline vec v_zero() { return _mm256_setzero_ps(); }
inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }

inline float v_sum(vec v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

struct Nibbles {
  static constexpr size_t kBytes = 64;
  vec low, high;
  __m256i word[2];

  Nibbles(const Codes& weight, const CodeRow& row) { segment(weight, row, 0); }
  void block(const uint8_t* code) {
    for (int h = 0; h < 2; ++h) word[h] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(code + 32 * h));
  }
  void segment(const Codes& weight, const CodeRow& row, size_t s) {
    low = v_load(weight.values + 16 * row.table[s]);
    high = v_load(weight.values + 16 * row.table[s] + 8);
  }
  void chunk(int, vec* value) {
    for (int h = 0; h < 2; ++h) {
      const vec upper = _mm256_castsi256_ps(_mm256_slli_epi32(word[h], 28));  // its sign is bit 3
      value[h] = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, word[h]), _mm256_permutevar8x32_ps(high, word[h]), upper);
      word[h] = _mm256_srli_epi32(word[h], 4);
    }
  }
};

inline __m256i codes_of(const uint8_t* from) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))); }

struct Levels {
  static constexpr size_t kBytes = 128;
  const uint8_t* from;
  vec zero;

  Levels(const Codes&, const CodeRow& row) : zero(v_set(row.zero[0])) {}
  void block(const uint8_t* code) { from = code; }
  void segment(const Codes&, const CodeRow& row, size_t s) { zero = v_set(row.zero[s]); }
  void chunk(int j, vec* value) {
    for (int h = 0; h < 2; ++h) value[h] = _mm256_sub_ps(_mm256_cvtepi32_ps(codes_of(from + 16 * j + 8 * h)), zero);
  }
};

struct Bytes {
  static constexpr size_t kBytes = 128;
  const uint8_t* from;
  const float* values;

  Bytes(const Codes& weight, const CodeRow&) : values(weight.values) {}
  void block(const uint8_t* code) { from = code; }
  void segment(const Codes&, const CodeRow&, size_t) {}
  void chunk(int j, vec* value) {
    for (int h = 0; h < 2; ++h) value[h] = _mm256_i32gather_ps(values, codes_of(from + 16 * j + 8 * h), 4);
  }
};

}  // namespace
}  // namespace tersenet

#include "tersenet/kernels/codes_loop.h"

namespace tersenet {

CodesKernels codes_kernels_avx2() { return {"avx2", codes_run<Nibbles>, codes_run<Levels>, codes_run<Bytes>, nullptr}; }

}  // namespace tersenet
#endif
