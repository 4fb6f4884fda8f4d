// spmm8.h in AVX-512 with VNNI.
#if defined(TERSENET_AVX512VNNI)
#include <immintrin.h>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr int kWords = 16;

inline int32_t quad_at(const int8_t* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, 4);
  return quad;
}

// Two sums for each vector of lanes, of every other quad: the chain of one is longer than its throughput.
template <int kVectors>
inline void row_of(const uint8_t* place, const int8_t* quad, uint32_t count, const uint8_t* panel, int32_t* acc, bool first) {
  __m512i even[kVectors], odd[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    even[v] = first ? _mm512_setzero_si512() : _mm512_loadu_si512(acc + v * kWords);
    odd[v] = _mm512_setzero_si512();
  }
  const auto add = [&](__m512i* sum, uint32_t e) {
    const uint8_t* x = panel + size_t(place[e]) * 4 * kPanel;
    const __m512i w = _mm512_set1_epi32(quad_at(quad + size_t(e) * 4));
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[v] = _mm512_dpbusd_epi32(sum[v], _mm512_loadu_si512(x + v * 4 * kWords), w);
  };
  uint32_t e = 0;
  for (; e + 2 <= count; e += 2) {
    add(even, e);
    add(odd, e + 1);
  }
  if (e < count) add(even, e);
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(acc + v * kWords, _mm512_add_epi32(even[v], odd[v]));
}

template <int kVectors>
void run(const Spmm8& weight, uint32_t tile, uint32_t from, uint32_t to, const uint8_t* panel, int32_t* acc, bool first) {
  const uint32_t* start = weight.start + size_t(tile) * weight.rows;
  for (uint32_t r = from; r < to; ++r, acc += kPanel) {
    row_of<kVectors>(weight.place + start[r], weight.quad + size_t(start[r]) * 4, start[r + 1] - start[r], panel, acc, first);
  }
}

}  // namespace

void spmm8_run_avx512vnni(const Spmm8& weight, uint32_t tile, uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc, bool first) {
  switch ((width + kWords - 1) / kWords) {
    case 1: return run<1>(weight, tile, from, to, panel, acc, first);
    case 2: return run<2>(weight, tile, from, to, panel, acc, first);
    case 3: return run<3>(weight, tile, from, to, panel, acc, first);
    default: return run<4>(weight, tile, from, to, panel, acc, first);
  }
}

}  // namespace tersenet
#endif
