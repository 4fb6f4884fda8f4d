// codes_loop.h - the loop of codes.h, written once for every width of vector; each column includes it with its own
//
//   vec, kLanes, v_load(x), v_set(x), v_zero(), v_fma(a, b, c) = a * b + c, v_add(a, b), v_mul(a, b), v_sum(v)
//
// and with decoders: block(code) begins a block, segment(weight, row, s) enters a segment, chunk(j, value) gives the
// kVecs vectors of chunk j, j counting up from 0.
#pragma once

#include "tersenet/kernels/codes.h"

namespace tersenet {
namespace {

constexpr int kVecs = int(kChunk) / kLanes;
constexpr size_t kAhead = 2048;  // bytes of code: where look-ups fill the CPU's queues, it does not see the next loads in time

template <class Decoder, int kCount, bool kSegments>
inline void row_of(const Codes& weight, const CodeRow& row, const float* x, size_t x_step, float* sums) {
  constexpr int kChains = kCount == 1 && kVecs < 4 ? 4 / kVecs : kCount == 2 && kVecs == 1 ? 2 : 1;
  vec sum[kCount][kChains * kVecs];
  for (int b = 0; b < kCount; ++b) {
    for (int i = 0; i < kChains * kVecs; ++i) sum[b][i] = v_zero();
  }
  Decoder decoder(weight, row);
  const uint8_t* code = row.code;
  const uint16_t* segment = weight.segment;
  for (size_t block = 0; block < weight.blocks; ++block, x += kBlockColumns, code += Decoder::kBytes) {
    decoder.block(code);
    for (size_t line = 0; line < Decoder::kBytes; line += 64) __builtin_prefetch(code + kAhead + line);
#pragma GCC unroll 8
    for (int j = 0; j < int(kBlockChunks); ++j) {
      vec value[kVecs];
      if (kSegments) decoder.segment(weight, row, *segment);
      decoder.chunk(j, value);
      if (kSegments) {
        const vec step = v_set(row.step[*segment++]);
        for (int i = 0; i < kVecs; ++i) value[i] = v_mul(value[i], step);
      }
#pragma GCC unroll 4
      for (int b = 0; b < kCount; ++b) {
        const float* at = x + size_t(b) * x_step + j * int(kChunk);
#pragma GCC unroll 4
        for (int i = 0; i < kVecs; ++i) {
          vec& to = sum[b][j % kChains * kVecs + i];
          to = v_fma(value[i], v_load(at + i * kLanes), to);
        }
      }
    }
  }
  for (int b = 0; b < kCount; ++b) {
    for (int i = 1; i < kChains * kVecs; ++i) sum[b][0] = v_add(sum[b][0], sum[b][i]);
    sums[b] = v_sum(sum[b][0]);
  }
}

template <class Decoder, bool kSegments>
inline void vectors_of(const Codes& weight, const CodeRow& row, const float* x, size_t x_step, int count, float* sums) {
  switch (count) {
    case 1: return row_of<Decoder, 1, kSegments>(weight, row, x, x_step, sums);
    case 2: return row_of<Decoder, 2, kSegments>(weight, row, x, x_step, sums);
    case 3: return row_of<Decoder, 3, kSegments>(weight, row, x, x_step, sums);
    default: return row_of<Decoder, 4, kSegments>(weight, row, x, x_step, sums);
  }
}

template <class Decoder>
void codes_run(const Codes& weight, const CodeRow& row, const float* x, size_t x_step, int count, float* sums) {
  if (weight.segment) return vectors_of<Decoder, true>(weight, row, x, x_step, count, sums);
  vectors_of<Decoder, false>(weight, row, x, x_step, count, sums);
}

}  // namespace
}  // namespace tersenet
