// codes.h in AVX-512: 16 values are one register, so that vpermps looks up a chunk of nibbles, of which it takes the low
// four bits; eight-bit codes that are no levels are gathered.
#if defined(TERSENET_AVX512)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

using vec = __m512;
constexpr int kLanes = 16;
inline vec v_load(const float* x) { return _mm512_loadu_ps(x); }
inline vec v_set(float x) { return _mm512_set1_ps(x); }
inline vec v_zero() { return _mm512_setzero_ps(); }
inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
inline float v_sum(vec v) { return _mm512_reduce_add_ps(v); }

struct Nibbles {
  static constexpr size_t kBytes = 64;
  vec values;
  __m512i word;

  Nibbles(const Codes& weight, const CodeRow& row) : values(v_load(weight.values + 16 * row.table[0])) {}
  void block(const uint8_t* code) { word = _mm512_loadu_si512(code); }
  void segment(const Codes& weight, const CodeRow& row, size_t s) { values = v_load(weight.values + 16 * row.table[s]); }
  void chunk(int, vec* value) {
    *value = _mm512_permutexvar_ps(word, values);
    word = _mm512_srli_epi32(word, 4);
  }
};

inline __m512i codes_of(const uint8_t* from) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))); }

struct Levels {
  static constexpr size_t kBytes = 128;
  const uint8_t* from;
  vec zero;

  Levels(const Codes&, const CodeRow& row) : zero(v_set(row.zero[0])) {}
  void block(const uint8_t* code) { from = code; }
  void segment(const Codes&, const CodeRow& row, size_t s) { zero = v_set(row.zero[s]); }
  void chunk(int j, vec* value) { *value = _mm512_sub_ps(_mm512_cvtepi32_ps(codes_of(from + 16 * j)), zero); }
};

struct Bytes {
  static constexpr size_t kBytes = 128;
  const uint8_t* from;
  const float* values;

  Bytes(const Codes& weight, const CodeRow&) : values(weight.values) {}
  void block(const uint8_t* code) { from = code; }
  void segment(const Codes&, const CodeRow&, size_t) {}
  void chunk(int j, vec* value) { *value = _mm512_i32gather_ps(codes_of(from + 16 * j), values, 4); }
};

}  // namespace
}  // namespace tersenet

#include "tersenet/kernels/codes_loop.h"

namespace tersenet {

CodesKernels codes_kernels_avx512() { return {"avx512", codes_run<Nibbles>, codes_run<Levels>, codes_run<Bytes>, nullptr}; }

}  // namespace tersenet
#endif
