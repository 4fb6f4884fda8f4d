// int8.h in AVX-512 with VNNI: vpdpbusd adds four products of u8 and i8 to each int32, without saturation.
#if defined(TERSENET_AVX512VNNI)
#include <immintrin.h>

#include "tersenet/kernels/int8.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr int kLanes = 16;

inline __mmask16 lanes(size_t n) { return n >= 16 ? 0xffff : __mmask16((1u << n) - 1); }

bool range(const float* x, size_t n, float* low, float* high) {
  __m512 least[2] = {}, most[2] = {}, sound[2] = {};  // the chain of one is longer than its throughput
  const auto take = [&](int k, __m512 v) {
    least[k] = _mm512_min_ps(v, least[k]);  // of a NaN the second one
    most[k] = _mm512_max_ps(v, most[k]);
    sound[k] = _mm512_or_ps(sound[k], _mm512_sub_ps(v, v));  // 0 but for NaN and Inf
  };
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    take(0, _mm512_loadu_ps(x + i));
    take(1, _mm512_loadu_ps(x + i + kLanes));
  }
  for (; i < n; i += kLanes) take(0, _mm512_maskz_loadu_ps(lanes(n - i), x + i));
  *low = _mm512_reduce_min_ps(_mm512_min_ps(least[0], least[1]));
  *high = _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]));
  return _mm512_cmp_ps_mask(_mm512_or_ps(sound[0], sound[1]), _mm512_setzero_ps(), _CMP_NEQ_UQ) == 0;
}

// The bytes of 16 values, one in each 32 bits: ties to even as the rounding mode is. A NaN becomes the least byte, where the
// scalar one becomes `zero`: its example answers NaN either way.
struct ToBytes {
  __m512 inverse, low, high;
  __m512i zero;

  explicit ToBytes(const Int8Range& range)
      : inverse(_mm512_set1_ps(range.inverse)), low(_mm512_set1_ps(float(-range.zero))), high(_mm512_set1_ps(float(255 - range.zero))), zero(_mm512_set1_epi32(range.zero)) {}

  __m512i operator()(__m512 x) const {
    const __m512 scaled = _mm512_mul_ps(x, inverse);
    return _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(scaled, low), high)), zero);
  }
};

void bytes(const float* x, size_t n, const Int8Range& range, uint8_t* to) {
  const ToBytes made(range);
  for (size_t i = 0; i < n; i += kLanes) {
    const __mmask16 mask = lanes(n - i);
    _mm512_mask_cvtusepi32_storeu_epi8(to + i, mask, made(_mm512_maskz_loadu_ps(mask, x + i)));
  }
}

void quads(const float* const x[4], size_t n, const Int8Range& range, uint8_t* to) {
  const ToBytes made(range);
  for (size_t i = 0; i < n; i += kLanes) {
    const __mmask16 mask = lanes(n - i);
    const auto level = [&](int k) { return x[k] ? made(_mm512_maskz_loadu_ps(mask, x[k] + i)) : made.zero; };
    const __m512i low = _mm512_or_si512(level(0), _mm512_slli_epi32(level(1), 8));
    const __m512i high = _mm512_or_si512(_mm512_slli_epi32(level(2), 16), _mm512_slli_epi32(level(3), 24));
    _mm512_mask_storeu_epi32(to + 4 * i, mask, _mm512_or_si512(low, high));
  }
}

inline int32_t quad_at(const void* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, 4);
  return quad;
}

void vector(const int8_t* block, size_t quads, const uint8_t* x, int32_t* sums) {
  __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;  // the chain of one sum is longer than its throughput
  const auto add = [&](__m512i sum, size_t q) {
    return _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(quad_at(x + 4 * q)), _mm512_loadu_si512(block + q * 4 * kInt8Rows));
  };
  size_t q = 0;
  for (; q + 4 <= quads; q += 4) {
    a = add(a, q);
    b = add(b, q + 1);
    c = add(c, q + 2);
    d = add(d, q + 3);
  }
  for (; q < quads; ++q) a = add(a, q);
  _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d)));
}

template <int kRows, int kVectors>
inline void block_of(const int8_t* block, size_t quads, const uint8_t* panel, int32_t* acc, bool first) {
  __m512i sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = first ? _mm512_setzero_si512() : _mm512_loadu_si512(acc + i * kPanel + v * kLanes);
  }
  for (size_t q = 0; q < quads; ++q, panel += 4 * kPanel, block += 4 * kPanelRows) {
    __m512i x[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) x[v] = _mm512_loadu_si512(panel + v * 64);
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      const __m512i w = _mm512_set1_epi32(quad_at(block + 4 * i));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = _mm512_dpbusd_epi32(sum[i][v], x[v], w);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(acc + i * kPanel + v * kLanes, sum[i][v]);
  }
}

template <int kVectors>
inline void rows_of(const int8_t* block, int rows, size_t quads, const uint8_t* panel, int32_t* acc, bool first) {
  switch (rows) {
    case 1: return block_of<1, kVectors>(block, quads, panel, acc, first);
    case 2: return block_of<2, kVectors>(block, quads, panel, acc, first);
    case 3: return block_of<3, kVectors>(block, quads, panel, acc, first);
    case 4: return block_of<4, kVectors>(block, quads, panel, acc, first);
    case 5: return block_of<5, kVectors>(block, quads, panel, acc, first);
    default: return block_of<6, kVectors>(block, quads, panel, acc, first);
  }
}

void panel(const int8_t* block, int rows, size_t quads, const uint8_t* panel, int width, int32_t* acc, bool first) {
  switch ((width + kLanes - 1) / kLanes) {
    case 1: return rows_of<1>(block, rows, quads, panel, acc, first);
    case 2: return rows_of<2>(block, rows, quads, panel, acc, first);
    case 3: return rows_of<3>(block, rows, quads, panel, acc, first);
    default: return rows_of<4>(block, rows, quads, panel, acc, first);
  }
}

void scaled(const int32_t* acc, int32_t less, float scale, int n, float* y) {
  const __m512i subtract = _mm512_set1_epi32(less);
  const __m512 factor = _mm512_set1_ps(scale);
  for (int j = 0; j < n; j += kLanes) {
    const __mmask16 mask = lanes(size_t(n - j));
    const __m512i sum = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(mask, acc + j), subtract);
    _mm512_mask_storeu_ps(y + j, mask, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), factor));
  }
}

}  // namespace

Int8Kernels int8_kernels_avx512vnni() { return {"avx512vnni", range, bytes, quads, vector, panel, scaled}; }

}  // namespace tersenet
#endif
