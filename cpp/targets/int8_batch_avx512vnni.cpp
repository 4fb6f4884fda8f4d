// int8_batch.h in AVX-512.
#if defined(TERSENET_AVX512VNNI)
#include <immintrin.h>

#include "tersenet/kernels/int8_batch.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

inline __mmask16 lanes(int n) { return n >= 16 ? 0xffff : __mmask16((1u << n) - 1); }

// to[i] holds lane i of from[0] .. from[15].
inline void transpose(const __m512i from[16], __m512i to[16]) {
  __m512i pair[16], four[16], eight[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pair[i] = _mm512_unpacklo_epi32(from[i], from[i + 1]);
    pair[i + 1] = _mm512_unpackhi_epi32(from[i], from[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      four[i + 2 * k] = _mm512_unpacklo_epi64(pair[i + k], pair[i + 2 + k]);
      four[i + 2 * k + 1] = _mm512_unpackhi_epi64(pair[i + k], pair[i + 2 + k]);
    }
  }
  // four[4 i + k] holds lanes k, k + 4, k + 8, k + 12 of rows 4 i .. 4 i + 3, one quarter each
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    eight[k] = _mm512_shuffle_i32x4(four[k], four[4 + k], 0x88);
    eight[4 + k] = _mm512_shuffle_i32x4(four[k], four[4 + k], 0xdd);
    eight[8 + k] = _mm512_shuffle_i32x4(four[8 + k], four[12 + k], 0x88);
    eight[12 + k] = _mm512_shuffle_i32x4(four[8 + k], four[12 + k], 0xdd);
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    to[k] = _mm512_shuffle_i32x4(eight[k], eight[8 + k], 0x88);
    to[4 + k] = _mm512_shuffle_i32x4(eight[4 + k], eight[12 + k], 0x88);
    to[8 + k] = _mm512_shuffle_i32x4(eight[k], eight[8 + k], 0xdd);
    to[12 + k] = _mm512_shuffle_i32x4(eight[4 + k], eight[12 + k], 0xdd);
  }
}

void interleave(const uint8_t* x, size_t x_step, size_t quads, uint8_t* panel) {
  for (size_t q = 0; q < quads; q += 16, x += 64, panel += 16 * 4 * kPanel) {
    __m512i from[16], to[16];
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) from[j] = _mm512_loadu_si512(x + size_t(j) * x_step);
    transpose(from, to);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) _mm512_storeu_si512(panel + i * 4 * kPanel, to[i]);
  }
}

__m512 answer(__m512i acc, const Int8Range& range, __m512 step, __m512i sum) {
  const __m512i exact = _mm512_sub_epi32(acc, _mm512_mullo_epi32(sum, _mm512_set1_epi32(range.zero)));
  return _mm512_mul_ps(_mm512_cvtepi32_ps(exact), _mm512_mul_ps(step, _mm512_set1_ps(range.scale)));
}

// finish of layer_epilogue.h for 16 rows; `read` gives theirs of an array.
template <class Read>
__m512 finished(const Epilogue& epilogue, __m512 y, const Read& read, const float* residual) {
  if (epilogue.scale) y = _mm512_mul_ps(y, read(epilogue.scale));
  if (epilogue.shift) y = _mm512_add_ps(y, read(epilogue.shift));
  y = _mm512_add_ps(y, residual ? read(residual) : _mm512_setzero_ps());
  const __m512 low = _mm512_set1_ps(epilogue.low);
  if (epilogue.activation == Activation::clamp) return _mm512_min_ps(_mm512_set1_ps(epilogue.high), _mm512_max_ps(low, y));  // of a NaN the second one
  if (epilogue.activation == Activation::leaky) return _mm512_mask_mul_ps(y, _mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_LT_OQ), low, y);
  return y;
}

void answers(const int32_t* acc, size_t row, int rows, int width, const Int8Range* range, const float* step, const int32_t* sum, const Epilogue& epilogue, float* y, size_t y_step) {
  for (int j = 0; j < width; j += 16) {
    const int columns = width - j < 16 ? width - j : 16;
    for (int i = 0; i < rows; i += 16) {
      const __mmask16 mask = lanes(rows - i);
      const size_t first = row + size_t(i);
      const __m512 steps = _mm512_maskz_loadu_ps(mask, step + first);
      const __m512i sums = _mm512_maskz_loadu_epi32(mask, sum + first);
      const auto read = [&](const float* from) { return _mm512_maskz_loadu_ps(mask, from + first); };
      __m512i from[16], to[16];
#pragma GCC unroll 16
      for (int k = 0; k < 16; ++k) from[k] = _mm512_loadu_si512(acc + (i + k) * kPanel + j);
      transpose(from, to);
      for (int k = 0; k < columns; ++k) {
        const size_t begin = size_t(j + k) * y_step;
        const float* residual = epilogue.residual ? epilogue.residual + begin : nullptr;
        _mm512_mask_storeu_ps(y + begin + first, mask, finished(epilogue, answer(to[k], range[j + k], steps, sums), read, residual));
      }
    }
  }
}

void scattered(const int32_t* acc, const uint32_t* row, int rows, const Int8Range& range, const float* step, const int32_t* sum, const Epilogue& epilogue, float* y) {
  for (int i = 0; i < rows; i += 16) {
    const __mmask16 mask = lanes(rows - i);
    const __m512i to = _mm512_maskz_loadu_epi32(mask, row + i);
    const auto read = [&](const float* from) { return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, to, from, 4); };
    const __m512 found = answer(_mm512_maskz_loadu_epi32(mask, acc + i), range, _mm512_maskz_loadu_ps(mask, step + i), _mm512_maskz_loadu_epi32(mask, sum + i));
    _mm512_mask_i32scatter_ps(y, mask, to, finished(epilogue, found, read, epilogue.residual), 4);
  }
}

}  // namespace

Int8BatchKernels int8_batch_kernels_avx512vnni() { return {interleave, answers, scattered}; }

}  // namespace tersenet
#endif
