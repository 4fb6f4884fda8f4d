// The bytes of codes.h where AVX-512 looks up bytes (VBMI): 256 values are 16 registers, a byte of each value in four of
// them; the four bytes of 64 values are looked up apart and put together.
#if defined(TERSENET_AVX512VNNI)
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

// Putting bytes together works inside lanes of 128 bits: value d of lane l of vector k comes from byte 16 l + 4 k + d.
constexpr uint8_t kOrder[64] = {0,  1,  2,  3,  16, 17, 18, 19, 32, 33, 34, 35, 48, 49, 50, 51, 4,  5,  6,  7,  20, 21,
                                22, 23, 36, 37, 38, 39, 52, 53, 54, 55, 8,  9,  10, 11, 24, 25, 26, 27, 40, 41, 42, 43,
                                56, 57, 58, 59, 12, 13, 14, 15, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63};

struct Planes {
  static constexpr size_t kBytes = 128;
  __m512i table[4][4];
  vec value[4];
  const uint8_t* from;

  Planes(const Codes& weight, const CodeRow&) {
    const uint8_t* values = reinterpret_cast<const uint8_t*>(weight.values);
    for (int quarter = 0; quarter < 4; ++quarter) {
      for (int byte = 0; byte < 4; ++byte) {
        uint8_t plane[64];
        for (int i = 0; i < 64; ++i) plane[i] = values[4 * (64 * quarter + i) + byte];
        table[byte][quarter] = _mm512_loadu_si512(plane);
      }
    }
  }

  void block(const uint8_t* code) { from = code; }
  void segment(const Codes&, const CodeRow&, size_t) {}

  void chunk(int j, vec* to) {
    if (j % 4 == 0) look_up(from + 16 * j);
    *to = value[j % 4];
  }

  void look_up(const uint8_t* at) {
    const __m512i code = _mm512_loadu_si512(at);
    const __mmask64 upper = _mm512_movepi8_mask(code);
    __m512i plane[4];
#pragma GCC unroll 4
    for (int byte = 0; byte < 4; ++byte) {  // seven bits of an index count
      const __m512i low = _mm512_permutex2var_epi8(table[byte][0], code, table[byte][1]);
      plane[byte] = _mm512_mask_blend_epi8(upper, low, _mm512_permutex2var_epi8(table[byte][2], code, table[byte][3]));
    }
    const __m512i a = _mm512_unpacklo_epi8(plane[0], plane[1]), b = _mm512_unpacklo_epi8(plane[2], plane[3]);
    const __m512i c = _mm512_unpackhi_epi8(plane[0], plane[1]), d = _mm512_unpackhi_epi8(plane[2], plane[3]);
    value[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(a, b));
    value[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(a, b));
    value[2] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(c, d));
    value[3] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(c, d));
  }
};

}  // namespace
}  // namespace tersenet

#include "tersenet/kernels/codes_loop.h"

namespace tersenet {

void add_codes_avx512vnni(CodesKernels& kernels) {
  kernels.column = "avx512vnni";
  kernels.bytes = codes_run<Planes>;
  kernels.order = kOrder;
}

}  // namespace tersenet
#endif
