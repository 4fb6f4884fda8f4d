// crc32.h - the checksum of sections: CRC-32 of ISO 3309, as zlib has it.
//
// A column may fold what is long: 64 bytes at a time into 16 with the same remainder, by carry-less products (Gopal et al.
// 2009, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel). Those 16 go through the tables.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

class Crc32Tables {
 public:
  Crc32Tables() {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t x = i;
      for (int bit = 0; bit < 8; ++bit) x = x & 1 ? x >> 1 ^ 0xedb88320u : x >> 1;
      entry_[0][i] = x;
    }
    for (int k = 1; k < 8; ++k) {
      for (int i = 0; i < 256; ++i) entry_[k][i] = entry_[k - 1][i] >> 8 ^ entry_[0][entry_[k - 1][i] & 255];
    }
  }

  // The register after `size` more bytes.
  uint32_t after(uint32_t state, const uint8_t* data, size_t size) const {
    for (; size >= 8; size -= 8, data += 8) {  // eight bytes at a time, each by its own table
      uint64_t word = state;
      for (int k = 0; k < 8; ++k) word ^= uint64_t(data[k]) << 8 * k;
      state = 0;
      for (int k = 0; k < 8; ++k) state ^= entry_[7 - k][word >> 8 * k & 255];
    }
    for (; size; --size, ++data) state = state >> 8 ^ entry_[0][(state ^ *data) & 255];
    return state;
  }

 private:
  uint32_t entry_[8][256];
};

}  // namespace tersenet
