// Tables of panel_codes.h where AVX-512 looks up bytes (VBMI): as in codes_avx512vnni.cpp, the four bytes of 64 values are
// looked up apart and put together.
#if defined(TERSENET_AVX512VNNI)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

// Byte `byte` of each of 64 values.
inline __m512i plane_of(const float* values, int byte) {
  alignas(64) uint8_t place[64];
  for (int i = 0; i < 64; ++i) place[i] = uint8_t(4 * (i % 32) + byte);
  const __m512i at = _mm512_load_si512(place);
  const __m512i low = _mm512_permutex2var_epi8(_mm512_loadu_si512(values), at, _mm512_loadu_si512(values + 16));
  const __m512i high = _mm512_permutex2var_epi8(_mm512_loadu_si512(values + 32), at, _mm512_loadu_si512(values + 48));
  return _mm512_shuffle_i64x2(low, high, 0x44);
}

template <int kParts>
inline __m512i bytes_at(const __m512i* table, __m512i code) {
  if (kParts == 1) return _mm512_permutexvar_epi8(code, table[0]);
  const __m512i low = _mm512_permutex2var_epi8(table[0], code, table[1]);  // seven bits of an index count
  if (kParts == 2) return low;
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), low, _mm512_permutex2var_epi8(table[2], code, table[3]));
}

// kParts times 64 values.
template <int kParts>
void look_up(const uint8_t* code, size_t n, const float* values, float* to) {
  __m512i table[4][4];
#pragma GCC unroll 4
  for (int byte = 0; byte < 4; ++byte) {
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) table[byte][part] = plane_of(values + 64 * part, byte);
  }
  // Unpacking works inside lanes of 128 bits: value d of lane l of vector k comes from byte 16 l + 4 k + d.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (size_t j = 0; j < n; j += 64, to += 64) {
    const __m512i codes = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(code + j));
    __m512i plane[4];
#pragma GCC unroll 4
    for (int byte = 0; byte < 4; ++byte) plane[byte] = bytes_at<kParts>(table[byte], codes);
    const __m512i a = _mm512_unpacklo_epi8(plane[0], plane[1]), b = _mm512_unpacklo_epi8(plane[2], plane[3]);
    const __m512i c = _mm512_unpackhi_epi8(plane[0], plane[1]), d = _mm512_unpackhi_epi8(plane[2], plane[3]);
    _mm512_storeu_si512(to, _mm512_unpacklo_epi16(a, b));
    _mm512_storeu_si512(to + 16, _mm512_unpackhi_epi16(a, b));
    _mm512_storeu_si512(to + 32, _mm512_unpacklo_epi16(c, d));
    _mm512_storeu_si512(to + 48, _mm512_unpackhi_epi16(c, d));
  }
}

void panel_table(const uint8_t* code, size_t n, const float* values, size_t count, float* to) {
  if (count > 128) return look_up<4>(code, n, values, to);
  if (count > 64) return look_up<2>(code, n, values, to);
  if (count > 32) return look_up<1>(code, n, values, to);
  const __m512 low = _mm512_loadu_ps(values), high = _mm512_loadu_ps(values + 16);
  for (size_t j = 0; j < n; j += 16) {
    const __m512i codes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code + j)));
    _mm512_storeu_ps(to + j, _mm512_permutex2var_ps(low, codes, high));
  }
}

}  // namespace

void add_panel_codes_avx512vnni(PanelCodesKernels& kernels) {
  kernels.column = "avx512vnni";
  kernels.table = panel_table;
}

}  // namespace tersenet
#endif
