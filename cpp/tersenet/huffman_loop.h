// huffman_loop.h - the inner loop of Huffman decoding: several symbols for each table look-up.
//
//   table     what the next table_bits bits hold: as many whole symbols as fit
//   lanes     independent bit strings, each with its own bytes and its own place in the output
//
// READ FIRST
//   1. `bits` holds 64 bits of the string with the next one on top. Its lowest bit was set to 1
//      when it was loaded: a marker that moves up as bits are consumed, so the number of trailing
//      zeros says how many were, and no counter is kept (after Giesen 2018, "Reading bits in far
//      too many ways").
//   2. A load starts at a whole byte, so up to 7 of its bits are old and 64 - 1 - 7 = 56 are good:
//      enough for 5 look-ups of 11 bits, 4 of up to 14, 3 of up to 16.
//   3. A look-up writes 8 bytes whatever it holds. `rounds` is how many rounds fit in every lane
//      before a load or a store could leave its bounds; inside them nothing is checked.
//
// This file is compiled once for each target, so everything is in an anonymous namespace and no
// standard template is used: the linker must never keep a newer CPU's copy of a shared function.
#pragma once

#include <string.h>

#include "tersenet/huffman_kernel.h"

#if defined(__clang__)
#define TERSENET_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define TERSENET_UNROLL _Pragma("GCC unroll 8")
#else
#define TERSENET_UNROLL
#endif

namespace tersenet {
namespace {

inline uint64_t load_be64(const uint8_t* data) {
  uint64_t x;
  memcpy(&x, data, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return x;
#elif defined(_MSC_VER)
  return _byteswap_uint64(x);
#else
  return __builtin_bswap64(x);
#endif
}

inline int trailing_zeros(uint64_t x) {  // x is not 0
#if defined(__GNUC__)
  return __builtin_ctzll(x);
#else
  int count = 0;
  for (; !(x & 1); x >>= 1) ++count;
  return count;
#endif
}

inline void store_symbols(uint8_t* out, uint64_t symbols, int symbol_bytes) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  for (int i = 0; i < 6 / symbol_bytes; ++i, symbols >>= 8 * symbol_bytes) {
    if (symbol_bytes == 1) {
      out[i] = uint8_t(symbols);
    } else {
      const uint16_t symbol = uint16_t(symbols);
      memcpy(out + 2 * i, &symbol, 2);
    }
  }
#else
  (void)symbol_bytes;
  memcpy(out, &symbols, 8);
#endif
}

// Rounds that fit: a round moves a lane by at most (lookups * table_bits + 7) / 8 <= 7 bytes of
// input, after which 8 bytes are loaded, and by lookups * max_count symbols of output.
inline size_t safe_rounds(const HuffmanLane& lane, size_t at, size_t round_out) {
  const size_t out_left = size_t(lane.out_end - lane.out);
  if (lane.size < at + 16 || out_left < kStoreBytes + round_out) return 0;
  const size_t by_in = (lane.size - at - 8) / 7, by_out = (out_left - kStoreBytes) / round_out;
  return by_in < by_out ? by_in : by_out;
}

template <int kCount, int kLookups, int kSymbolBytes>
inline void run_lanes(const HuffmanTable& table, HuffmanLane* lanes) {
  const uint64_t* entries = table.entries;
  const int shift = 64 - table.table_bits;
  const size_t round_out = size_t(kLookups) * table.max_count * kSymbolBytes;
  uint64_t bits[kCount];
  const uint8_t* in[kCount];
  uint8_t* out[kCount];
  for (;;) {
    size_t rounds = ~size_t(0);
    for (int i = 0; i < kCount; ++i) {
      const size_t fit = safe_rounds(lanes[i], size_t(lanes[i].position / 8), round_out);
      if (fit < rounds) rounds = fit;
    }
    if (rounds == 0) return;
TERSENET_UNROLL
    for (int i = 0; i < kCount; ++i) {
      in[i] = lanes[i].data + lanes[i].position / 8;
      bits[i] = (load_be64(in[i]) | 1) << (lanes[i].position % 8);
      out[i] = lanes[i].out;
    }
    for (; rounds; --rounds) {
TERSENET_UNROLL
      for (int look = 0; look < kLookups; ++look) {
TERSENET_UNROLL
        for (int i = 0; i < kCount; ++i) {
          const uint64_t entry = entries[bits[i] >> shift];
          bits[i] <<= entry & 63;
          store_symbols(out[i], entry >> 16, kSymbolBytes);
          out[i] += entry >> 8 & 0xff;
        }
      }
TERSENET_UNROLL
      for (int i = 0; i < kCount; ++i) {
        const int consumed = trailing_zeros(bits[i]);
        in[i] += consumed >> 3;
        bits[i] = (load_be64(in[i]) | 1) << (consumed & 7);
      }
    }
TERSENET_UNROLL
    for (int i = 0; i < kCount; ++i) {
      lanes[i].position = uint64_t(in[i] - lanes[i].data) * 8 + uint64_t(trailing_zeros(bits[i]));
      lanes[i].out = out[i];
    }
  }
}

template <int kLookups, int kSymbolBytes>
inline void run_huffman(const HuffmanTable& table, HuffmanLane* lanes, int count) {
  if (count == kLanes) run_lanes<kLanes, kLookups, kSymbolBytes>(table, lanes);
  for (int i = 0; i < count; ++i) run_lanes<1, kLookups, kSymbolBytes>(table, lanes + i);
}

void huffman_run(const HuffmanTable& table, HuffmanLane* lanes, int count) {
  const int lookups = table.table_bits <= 11 ? 5 : table.table_bits <= 14 ? 4 : 3;
  if (table.symbol_bytes == 1) {
    if (lookups == 5) return run_huffman<5, 1>(table, lanes, count);
    if (lookups == 4) return run_huffman<4, 1>(table, lanes, count);
    return run_huffman<3, 1>(table, lanes, count);
  }
  if (lookups == 5) return run_huffman<5, 2>(table, lanes, count);
  if (lookups == 4) return run_huffman<4, 2>(table, lanes, count);
  return run_huffman<3, 2>(table, lanes, count);
}

}  // namespace
}  // namespace tersenet
