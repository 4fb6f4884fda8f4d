// huffman_kernel.h - what the inner loop of Huffman decoding works on (the loop: huffman_loop.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

struct HuffmanLane {
  const uint8_t* data;  // first byte of the lane
  size_t size;          // bytes
  uint64_t position;    // bits consumed; on return, as far as the fast loop went
  uint8_t* out;         // next symbol to write
  uint8_t* out_end;     // one past the lane's last symbol
};

struct HuffmanTable {
  // 2^table_bits of: byte 0 bits used, byte 1 bytes of output, then the symbols, 1 or 2 bytes each.
  const uint64_t* entries;
  int table_bits;    // 1..16
  int max_count;     // symbols that one entry holds at most, 1..6
  int symbol_bytes;  // 1 or 2
};

using HuffmanKernel = void (*)(const HuffmanTable&, HuffmanLane*, int lanes);

constexpr size_t kStoreBytes = 8;
constexpr int kLanes = 8;

}  // namespace tersenet
