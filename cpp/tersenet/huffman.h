// huffman.h - canonical Huffman codes over alphabets up to 2^16 (docs/notes/huffman.md).
//
//   huffman_encode(values, n, alphabet)    values below alphabet; n at most 2^40
//   HuffmanDecoder(data, size, n, alphabet).run(kernel, out)
//
// READ FIRST
//   1. The code is complete (its Kraft sum is exactly 1) or a single symbol of no bits. So every
//      bit string is a sequence of symbols, and a look-up never fails.
//   2. The decoder checks the table and n against the size before the caller allocates: each value takes
//      at least one bit. Then time is O(n + size), reads stay inside data, writes inside out.
//   3. Every lane must end at the last bits of its bytes, with zero padding.
#pragma once

#include <algorithm>
#include <vector>

#include "tersenet/code_lengths.h"
#include "tersenet/huffman_kernel.h"
#include "tersenet/shape.h"

namespace tersenet {

constexpr int kFastLimit = 11;                       // 2^11 entries of 8 bytes: half of a 32 KiB cache
constexpr uint64_t kLargeN = 1 << 16;                // from here on speed counts: limits 11 and 12 only
constexpr size_t kManySymbols = 1 << 11;             // more used symbols need longer codes
constexpr uint64_t kLanesMinBits = 1 << 18;          // eight lanes then cost (28 + 8 bytes) about 0.1 %
constexpr size_t kLaneSizesBytes = 4 * (kLanes - 1);

inline int width_for(uint32_t alphabet) { return bit_length(alphabet - 1); }

// Counts of each value; four tables for bytes, so that equal neighbours do not wait for each other.
inline std::vector<uint64_t> count_values(const uint8_t* values, size_t n, uint32_t alphabet) {
  std::vector<uint64_t> counts(alphabet, 0);
  uint64_t part[4][256] = {};
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    ++part[0][values[i]];
    ++part[1][values[i + 1]];
    ++part[2][values[i + 2]];
    ++part[3][values[i + 3]];
  }
  for (; i < n; ++i) ++part[0][values[i]];
  for (uint32_t s = 0; s < alphabet; ++s) counts[s] = part[0][s] + part[1][s] + part[2][s] + part[3][s];
  return counts;
}

inline std::vector<uint64_t> count_values(const uint16_t* values, size_t n, uint32_t alphabet) {
  std::vector<uint64_t> counts(alphabet, 0);
  for (size_t i = 0; i < n; ++i) ++counts[values[i]];
  return counts;
}

// First symbol code after the shorter ones: codes ascend with (length, symbol), the first is zero.
// `order` lists positions in `used` by (length, symbol); codes[i] belongs to used[i].
inline std::vector<uint32_t> canonical_codes(const std::vector<Used>& used, std::vector<uint32_t>& order) {
  order.clear();
  for (int length = 1; length <= 16; ++length) {
    for (size_t i = 0; i < used.size(); ++i) {
      if (used[i].cls == length) order.push_back(uint32_t(i));
    }
  }
  std::vector<uint32_t> codes(used.size());
  uint32_t code = 0;
  int previous = 0;
  for (uint32_t i : order) {
    code <<= used[i].cls - previous;
    previous = used[i].cls;
    codes[i] = code++;
  }
  return codes;
}

struct HuffmanChoice {
  int top;                 // the longest code
  std::vector<Used> used;  // symbol and length
  Shape shape;
  uint64_t payload;  // bits
};

inline HuffmanChoice choose_lengths(const std::vector<uint64_t>& counts, uint64_t n) {
  std::vector<uint32_t> order;
  for (size_t s = 0; s < counts.size(); ++s) {
    if (counts[s]) order.push_back(uint32_t(s));
  }
  const std::vector<uint32_t> symbols = order;
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return counts[a] < counts[b]; });
  std::vector<uint64_t> ascending;
  for (uint32_t s : order) ascending.push_back(counts[s]);

  const size_t k = order.size();
  int from = bit_length(k - 1), to = 15;
  if (k > kManySymbols) {
    from = to = k <= (1 << 14) ? 15 : 16;
  } else if (n >= kLargeN) {
    from = kFastLimit, to = kFastLimit + 1;
  }
  HuffmanChoice best;
  uint64_t best_total = 0;
  std::vector<int> length_of(counts.size());
  for (int limit = from; limit <= to; ++limit) {
    const std::vector<int> lengths = code_lengths(ascending, limit);
    HuffmanChoice made{lengths[0], {}, {}, 0};  // the rarest has the longest code
    for (size_t i = 0; i < k; ++i) {
      length_of[order[i]] = lengths[i];
      made.payload += ascending[i] * uint64_t(lengths[i]);
    }
    for (uint32_t s : symbols) made.used.push_back({s, length_of[s]});
    made.shape = smallest_shape(made.used, KraftRoom(made.top));
    const uint64_t total = made.payload + made.shape.bits.size_bits;
    const bool better = n >= kLargeN ? total * 400 < best_total * 399 : total < best_total;
    const bool last = made.top < limit;  // the limit does not bind: higher ones give the same code
    if (limit == from || better) {
      best = std::move(made);
      best_total = total;
    }
    if (last) break;
  }
  return best;
}

inline size_t lane_start(size_t n, int lanes, int lane) {
  const size_t chunk = n / lanes + (n % lanes != 0);
  return std::min(n, chunk * lane);
}

// Writes code words, highest bit first, after `held` bits (0..7) that `first` holds on top.
// `codes` are word << 8 | length. Stores 8 bytes at a time while they fit before `end`; returns one
// past the last byte.
//
// acc holds fewer than 8 bits between steps and takes kStep codes: 4 of <= 12 bits or 3 of <= 16,
// so at most 55 of its 64. The codes of a step are joined first: only one shift waits for the last step.
template <int kStep, class T>
uint8_t* write_codes(const T* values, size_t n, const uint32_t* codes, uint8_t first, int held, uint8_t* out,
                     const uint8_t* end) {
  uint64_t acc = first >> (8 - held);  // the held bits, lowest
  size_t i = 0;
  for (; i + kStep <= n && end - out >= 8; i += kStep) {
    uint64_t word = 0;
    int length = 0;
    for (int k = 0; k < kStep; ++k) {
      const uint32_t code = codes[values[i + k]];
      word = word << (code & 31) | code >> 8;
      length += code & 31;
    }
    acc = acc << length | word;
    held += length;
    const uint64_t top = acc << (64 - held);  // held is at least kStep here, so the shift is below 64
    for (int k = 0; k < 8; ++k) out[k] = uint8_t(top >> (56 - 8 * k));
    out += held >> 3;
    held &= 7;
    acc &= 0xff;  // what is above is written
  }
  for (; i < n; ++i) {
    const uint32_t code = codes[values[i]];
    acc = acc << (code & 31) | code >> 8;
    for (held += code & 31; held >= 8; held -= 8) *out++ = uint8_t(acc >> (held - 8));
    acc &= 0xff;
  }
  if (held) *out++ = uint8_t(acc << (8 - held));
  return out;
}

template <class T>
std::vector<uint8_t> huffman_encode(const T* values, size_t n, uint32_t alphabet) {
  if (n == 0) return {};
  // Counted by lane where there may be lanes, so that their sizes need no second look at the values.
  std::vector<std::vector<uint64_t>> by_lane;
  std::vector<uint64_t> counts(alphabet, 0);
  const int parts = 16 * uint64_t(n) >= kLanesMinBits ? kLanes : 1;
  for (int lane = 0; lane < parts; ++lane) {
    const size_t from = lane_start(n, parts, lane);
    by_lane.push_back(count_values(values + from, lane_start(n, parts, lane + 1) - from, alphabet));
    for (uint32_t s = 0; s < alphabet; ++s) counts[s] += by_lane[lane][s];
  }
  BitWriter head;
  if (counts[values[0]] == n) {
    head.put(0, 1);
    head.put(kOne, 2);
    head.put(values[0], width_for(alphabet));
    return head.bytes;
  }
  const HuffmanChoice choice = choose_lengths(counts, n);
  const bool many = choice.payload >= kLanesMinBits;
  head.put(many, 1);
  head.put(uint32_t(choice.shape.mode), 2);
  head.put(uint32_t(choice.top - 1), 4);
  head.put(uint32_t(choice.shape.k), 1);
  head.extend(choice.shape.bits);

  std::vector<uint32_t> codes(sizeof(T) == 1 ? 256 : alphabet, 0), order;  // code << 8 | length
  const std::vector<uint32_t> words = canonical_codes(choice.used, order);
  for (size_t i = 0; i < choice.used.size(); ++i) {
    codes[choice.used[i].symbol] = words[i] << 8 | uint32_t(choice.used[i].cls);
  }
  std::vector<uint8_t> out = std::move(head.bytes);
  if (!many) {
    const int held = int(head.size_bits % 8);
    const uint8_t first = held ? out.back() : 0;
    if (held) out.pop_back();
    const size_t at = out.size();
    out.resize(at + size_t((uint64_t(held) + choice.payload + 7) / 8));
    (choice.top <= 12 ? write_codes<4, T> : write_codes<3, T>)(values, n, codes.data(), first, held,
                                                               out.data() + at, out.data() + out.size());
    return out;
  }
  const size_t head_size = out.size();
  size_t sizes[kLanes], total = head_size + kLaneSizesBytes;
  for (int lane = 0; lane < kLanes; ++lane) {
    uint64_t bits = 0;
    for (const Used& u : choice.used) bits += by_lane[lane][u.symbol] * uint64_t(u.cls);
    sizes[lane] = size_t((bits + 7) / 8);
    if (sizes[lane] > 0xffffffff) refuse("a lane of " + str(sizes[lane]) + " bytes; expected below 2^32: split the stream");
    total += sizes[lane];
  }
  out.resize(total);
  uint8_t* at = out.data() + head_size;
  for (int lane = 0; lane + 1 < kLanes; ++lane) {
    for (int k = 0; k < 4; ++k) *at++ = uint8_t(sizes[lane] >> 8 * k);
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const size_t from = lane_start(n, kLanes, lane), to = lane_start(n, kLanes, lane + 1);
    (choice.top <= 12 ? write_codes<4, T> : write_codes<3, T>)(values + from, to - from, codes.data(), 0, 0, at,
                                                               at + sizes[lane]);
    at += sizes[lane];
  }
  return out;
}

class HuffmanDecoder {
 public:
  // Reads and checks everything but the payload; after it, n values may be allocated.
  HuffmanDecoder(const uint8_t* data, size_t size, uint64_t n, uint32_t alphabet) : data_(data), size_(size), n_(n) {
    if (n == 0) {
      if (size) refuse(str(size) + " bytes came for no values; expected none");
      return;
    }
    BitReader bits(data, size);
    many_ = bits.get(1);
    const int mode = int(bits.get(2));
    if (mode == kOne) {
      one_ = true;
      symbol_ = bits.get(width_for(alphabet));
      bits.expect_end();
      if (symbol_ >= alphabet || many_) refuse("symbol " + str(symbol_) + " came; expected below " + str(alphabet));
      return;
    }
    top_ = int(bits.get(4)) + 1;
    const int k = int(bits.get(1));
    used_ = get_shape(bits, alphabet, KraftRoom(top_), mode, k);
    int longest = 0;
    for (const Used& u : used_) longest = std::max(longest, u.cls);
    if (longest != top_ || used_.size() < 2) {
      refuse("the longest code has " + str(longest) + " bits; " + str(top_) + " are declared");
    }
    if (n > 8 * uint64_t(size)) refuse(str(size) + " bytes came; " + str(n) + " values take at least a bit each");
    if (!many_) {
      sizes_[0] = size;
      payload_bit_ = bits.position;
      return;
    }
    bits.align();
    payload_bit_ = bits.position + 8 * kLaneSizesBytes;
    size_t left = size - size_t(bits.position / 8);
    if (left < kLaneSizesBytes) refuse("the data ends inside the lengths of the lanes");
    left -= kLaneSizesBytes;
    const uint8_t* at = data + bits.position / 8;
    for (int lane = 0; lane + 1 < kLanes; ++lane, at += 4) {
      sizes_[lane] = size_t(at[0]) | size_t(at[1]) << 8 | size_t(at[2]) << 16 | size_t(at[3]) << 24;
      if (sizes_[lane] > left) refuse("lane " + str(lane) + " takes " + str(sizes_[lane]) + " bytes; " + str(left) + " remain");
      left -= sizes_[lane];
    }
    sizes_[kLanes - 1] = left;
  }

  // out has room for n values of T, which holds alphabet - 1.
  template <class T>
  void run(HuffmanKernel kernel, T* out) {
    if (n_ == 0) return;
    if (one_) {
      std::fill_n(out, n_, T(symbol_));
      return;
    }
    build_table<T>();
    const HuffmanTable table{entries_.data(), table_bits_, max_count_, int(sizeof(T))};
    HuffmanLane lanes[kLanes];
    const int count = many_ ? kLanes : 1;
    const uint8_t* at = many_ ? data_ + payload_bit_ / 8 : data_;
    for (int i = 0; i < count; ++i) {
      uint8_t* from = reinterpret_cast<uint8_t*>(out + lane_start(n_, count, i));
      uint8_t* to = reinterpret_cast<uint8_t*>(out + lane_start(n_, count, i + 1));
      lanes[i] = {at, sizes_[i], many_ ? 0 : payload_bit_, from, to};
      at += sizes_[i];
    }
    kernel(table, lanes, count);
    for (int i = 0; i < count; ++i) finish<T>(lanes[i]);
  }

 private:
  const uint8_t* data_;
  size_t size_;
  uint64_t n_, payload_bit_ = 0;
  bool many_ = false, one_ = false;
  uint32_t symbol_ = 0;
  int top_ = 0, table_bits_ = 0, max_count_ = 1;
  size_t sizes_[kLanes] = {};
  std::vector<Used> used_;
  std::vector<uint64_t> entries_;
  std::vector<uint32_t> single_;  // symbol << 8 | length, by the next table_bits_ bits

  // Entries hold as many whole symbols as their bits and 6 bytes allow. Short streams take the
  // narrowest table, as filling it would cost more than it saves.
  template <class T>
  void build_table() {
    table_bits_ = n_ < 4096 ? top_ : std::max(top_, kFastLimit);
    const size_t count = size_t(1) << table_bits_;
    single_.resize(count);
    std::vector<uint32_t> order;
    canonical_codes(used_, order);
    size_t slot = 0;  // the code is complete, so the symbols in code order fill the table exactly
    for (uint32_t i : order) {
      const size_t span = size_t(1) << (table_bits_ - used_[i].cls);
      std::fill_n(single_.begin() + slot, span, used_[i].symbol << 8 | uint32_t(used_[i].cls));
      slot += span;
    }
    constexpr int kMost = 6 / sizeof(T);
    entries_.resize(count);
    for (size_t index = 0; index < count; ++index) {
      int bits = 0, symbols = 0;
      uint64_t packed = 0;
      while (symbols < kMost) {
        const uint32_t next = single_[index << bits & (count - 1)];
        if (bits + int(next & 0xff) > table_bits_) break;
        packed |= uint64_t(next >> 8) << (8 * sizeof(T) * symbols);
        bits += int(next & 0xff);
        ++symbols;
      }
      max_count_ = std::max(max_count_, symbols);
      entries_[index] = packed << 16 | uint64_t(symbols * sizeof(T)) << 8 | uint64_t(bits);
    }
  }

  // The last symbols of a lane, one by one, each bit checked; then the lane's end.
  template <class T>
  void finish(HuffmanLane& lane) {
    const uint64_t end = uint64_t(lane.size) * 8, count = uint64_t(1) << table_bits_;
    T* out = reinterpret_cast<T*>(lane.out);
    T* out_end = reinterpret_cast<T*>(lane.out_end);
    uint64_t position = lane.position;
    for (; out < out_end; ++out) {
      uint64_t window = 0;  // 32 bits from a whole byte: 7 old ones and at least 25 >= 16 good ones
      for (size_t k = 0, at = size_t(position / 8); k < 4; ++k, ++at) {
        window = window << 8 | (at < lane.size ? lane.data[at] : 0);
      }
      const uint32_t next = single_[window >> (32 - table_bits_ - position % 8) & (count - 1)];
      position += next & 0xff;
      if (position > end) refuse("the data ends at bit " + str(end) + ", inside a value");
      *out = T(next >> 8);
    }
    if ((position + 7) / 8 != lane.size) refuse(str(lane.size - (position + 7) / 8) + " bytes are left over; expected none");
    if (position % 8 && (lane.data[position / 8] << position % 8 & 0xff)) refuse("padding after the last value is not zero");
  }
};

}  // namespace tersenet
