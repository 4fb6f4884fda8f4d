// bits.h - bits in the order of their weight, highest first; and packed fields, lowest first.
//
//   BitWriter, BitReader   bit 0 of the string is the top bit of byte 0: tables and Huffman codes
//   pack, unpack           bit 0 of the string is the lowest bit of byte 0: the raw coder
//
// A BitReader checks every read against its end, so it is safe on hostile bytes and too slow
// for payloads. Positions are bit counts in uint64_t: data below 2^61 bytes cannot overflow them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tersenet/refuse.h"

namespace tersenet {

inline int bit_length(uint64_t x) {
  int bits = 0;
  for (; x; x >>= 1) ++bits;
  return bits;
}

class BitWriter {
 public:
  std::vector<uint8_t> bytes;
  uint64_t size_bits = 0;

  // Appends the low `width` bits of value, 0 <= width <= 32.
  void put(uint32_t value, int width) {
    for (int i = width - 1; i >= 0; --i) {
      if (size_bits % 8 == 0) bytes.push_back(0);
      bytes.back() |= uint8_t((value >> i & 1) << (7 - size_bits % 8));
      ++size_bits;
    }
  }

  // `count` ones, then a zero if `stop`.
  void put_unary(int count, bool stop) {
    for (int i = 0; i < count; ++i) put(1, 1);
    if (stop) put(0, 1);
  }

  // Elias gamma of value >= 1.
  void put_gamma(uint32_t value) {
    put(0, bit_length(value) - 1);
    put(value, bit_length(value));
  }

  void extend(const BitWriter& other) {
    for (uint64_t i = 0; i < other.size_bits; ++i) put(other.bytes[i / 8] >> (7 - i % 8) & 1, 1);
  }
};

class BitReader {
 public:
  BitReader(const uint8_t* data, size_t size) : data_(data), end_(uint64_t(size) * 8) {}

  uint64_t position = 0;

  uint32_t get(int width) {
    if (uint64_t(width) > end_ - position) {
      refuse("the data ends at bit " + str(end_) + "; expected " + str(width) + " bits at " + str(position));
    }
    uint32_t value = 0;
    for (int i = 0; i < width; ++i, ++position) {
      value = value << 1 | (data_[position / 8] >> (7 - position % 8) & 1);
    }
    return value;
  }

  int get_unary(int limit) {
    int count = 0;
    while (count < limit && get(1)) ++count;
    return count;
  }

  uint32_t get_gamma(int max_bits) {
    int zeros = 0;
    while (!get(1)) {
      if (++zeros >= max_bits) {
        refuse("a gamma code at bit " + str(position) + " is longer than " + str(max_bits) + " bits allow");
      }
    }
    return uint32_t(1) << zeros | get(zeros);
  }

  void align() {
    if (get(int(-position & 7))) refuse("padding before bit " + str(position) + " is not zero");
  }

  void expect_end() {
    align();
    if (position != end_) refuse(str((end_ - position) / 8) + " bytes are left over; expected none");
  }

 private:
  const uint8_t* data_;
  uint64_t end_;
};

// pack: n values of `width` bits (0 to 32, higher bits zero) into (n * width + 7) / 8 bytes.
//
// acc holds fewer than 8 bits between values, so at most 7 + 32 of its 64 while it works.
template <class T>
void pack(const T* values, size_t n, int width, uint8_t* out) {
  uint64_t acc = 0;
  int held = 0;
  for (size_t i = 0; i < n; ++i) {
    acc |= uint64_t(values[i]) << held;
    for (held += width; held >= 8; held -= 8, acc >>= 8) *out++ = uint8_t(acc);
  }
  if (held) *out = uint8_t(acc);
}

// unpack: the inverse; returns whether the padding of the last byte is zero.
// `data` has exactly (n * width + 7) / 8 bytes; a byte is read only when the value needs it.
template <class T>
bool unpack(const uint8_t* data, size_t n, int width, T* values) {
  const uint64_t mask = (uint64_t(1) << width) - 1;
  uint64_t acc = 0;
  int held = 0;
  for (size_t i = 0; i < n; ++i) {
    for (; held < width; held += 8) acc |= uint64_t(*data++) << held;
    values[i] = T(acc & mask);
    acc >>= width;
    held -= width;
  }
  return acc == 0;
}

}  // namespace tersenet
