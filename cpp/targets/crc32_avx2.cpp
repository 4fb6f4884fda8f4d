// 64 bytes of a CRC-32 folded at once by carry-less products.
#if defined(TERSENET_AVX2)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

__m128i load(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }

// `onto` and what `x` is so many bits further on: its halves times x^(bits + 32) and x^(bits - 32) mod the polynomial.
__m128i fold(__m128i x, __m128i powers, __m128i onto) {
  return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, powers, 0x00), _mm_clmulepi64_si128(x, powers, 0x11)), onto);
}

}  // namespace

size_t crc32_fold_avx2(uint32_t state, const uint8_t* data, size_t size, uint8_t* folded) {
  if (size < 64) return 0;
  const __m128i by_512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), by_128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
  const uint8_t* at = data;
  __m128i sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = load(at + 16 * i);
  sum[0] = _mm_xor_si128(sum[0], _mm_cvtsi32_si128(int(state)));
  for (at += 64, size -= 64; size >= 64; at += 64, size -= 64) {
    for (int i = 0; i < 4; ++i) sum[i] = fold(sum[i], by_512, load(at + 16 * i));
  }
  for (int i = 0; i < 3; ++i) sum[i + 1] = fold(sum[i], by_128, sum[i + 1]);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(folded), sum[3]);
  return size_t(at - data);
}

}  // namespace tersenet
#endif
