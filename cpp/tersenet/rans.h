// rans.h - interleaved range ANS with integer frequencies (docs/notes/rans.md; Duda 2013, arXiv:1311.2540).
//
// READ FIRST
//   1. ANS is a stack: values are encoded last to first, so that they decode first to last.
//   2. Frequencies sum to exactly 2^scale, scale 12..15; a symbol that occurs has at least 1.
//   3. Between values 2^16 <= x < 2^32; one word restores it (rans_kernel.h says why).
//   4. Every lane's encoder starts at 2^16, so every decoder must end there, with no byte left:
//      damage is found without a checksum in nearly all cases.
//   5. Every choice is made by integers, so the same values give the same bytes everywhere.
#pragma once

#include <queue>

#include "tersenet/huffman.h"
#include "tersenet/rans_kernel.h"

namespace tersenet {

constexpr size_t kRansManySymbols = 1 << 10;  // more used symbols: only exact tables are tried

// Counts rounded to sum 2^scale, each at least 1, by Webster's rule: the gain of one more is
// c * log2((f + 1) / f), about c / (f + 1/2). Ties go to the first symbol.
// c <= 2^40 and 2 f + 1 < 2^17: products stay below 2^57.
inline std::vector<uint32_t> frequencies(const std::vector<uint64_t>& counts, uint64_t n, int scale) {
  std::vector<uint32_t> freqs;
  int64_t left = int64_t(1) << scale;
  for (uint64_t c : counts) {
    freqs.push_back(uint32_t(std::max<uint64_t>(1, (c << scale) / n)));
    left -= freqs.back();
  }
  const int step = left > 0 ? 1 : -1;
  // Whether changing b is the better choice, i.e. a comes later out of the queue.
  const auto worse = [&](uint32_t a, uint32_t b) {
    const uint64_t ab = counts[a] * uint64_t(2 * int64_t(freqs[b]) + step);
    const uint64_t ba = counts[b] * uint64_t(2 * int64_t(freqs[a]) + step);
    return ab != ba ? (step > 0 ? ab < ba : ab > ba) : a > b;
  };
  std::priority_queue<uint32_t, std::vector<uint32_t>, decltype(worse)> queue(worse);
  for (uint32_t i = 0; i < counts.size(); ++i) {
    if (step > 0 || freqs[i] > 1) queue.push(i);
  }
  for (; left != 0; left -= step) {
    const uint32_t best = queue.top();
    queue.pop();
    freqs[best] += step;
    if (step > 0 || freqs[best] > 1) queue.push(best);
  }
  return freqs;
}

// floor(log2(x) * 2^16) within one unit for 1 <= x <= 2^15; mantissa^2 stays below 2^32.
inline uint64_t log2_fixed(uint32_t x) {
  const int exponent = bit_length(x) - 1;
  uint64_t mantissa = uint64_t(x) << (15 - exponent), result = uint64_t(exponent);
  for (int i = 0; i < 16; ++i) {
    mantissa = mantissa * mantissa >> 15;
    const uint64_t bit = mantissa >> 16;
    mantissa >>= bit;
    result = result << 1 | bit;
  }
  return result;
}

// The nearest number with at most precision + 1 significant bits, halves up; below 2^15.
inline uint32_t round_weight(uint32_t weight, int precision) {
  const int drop = bit_length(weight) - 1 - precision;
  if (drop <= 0) return weight;
  const uint32_t rounded = (weight + (uint32_t(1) << (drop - 1))) >> drop << drop;
  return std::min(rounded, (uint32_t(1) << 15) - (uint32_t(1) << (14 - std::min(precision, 14))));
}

// Frequencies from weights: 1 each, and the rest in proportion, in running sums, so that the sum
// is exact. Weights are below 2^15 and at most 2^15 of them: seen * rest stays below 2^45.
inline std::vector<uint32_t> spread(std::vector<uint32_t> weights, int scale) {
  uint64_t total = 0;
  for (uint32_t w : weights) total += w;
  if (total == 0) {
    for (uint32_t& w : weights) w = 1;
    total = weights.size();
  }
  const uint64_t rest = (uint64_t(1) << scale) - weights.size();
  uint64_t seen = 0, before = 0;
  for (uint32_t& w : weights) {
    seen += w;
    const uint64_t upto = seen * rest / total;
    w = uint32_t(1 + upto - before);
    before = upto;
  }
  return weights;
}

struct RansChoice {
  int scale = 0, mode = 0;
  std::vector<uint32_t> freqs;
  BitWriter table;
  uint64_t payload = 0, total = 0;  // bits
};

inline void put_table(RansChoice& choice, const std::vector<uint32_t>& symbols,
                      const std::vector<uint32_t>& weights, uint32_t alphabet, int precision) {
  BitWriter& out = choice.table;
  std::vector<Used> used;
  int top = 0;
  for (size_t i = 0; i < symbols.size(); ++i) {
    used.push_back({symbols[i], symbols.size() == 2 ? 0 : bit_length(weights[i])});
    top = std::max(top, used.back().cls);
  }
  const Shape shape = smallest_shape(used, CountRoom(uint32_t(used.size()), top));
  choice.mode = shape.mode;
  out.put(uint32_t(used.size() - 2), width_for(alphabet));
  if (used.size() == 2) {
    out.extend(shape.bits);
    out.put(weights[0], choice.scale);
    return;
  }
  out.put(uint32_t(top), 4);
  out.put(uint32_t(precision), 4);
  out.put(uint32_t(shape.k), 1);
  out.extend(shape.bits);
  for (size_t i = 0; i < used.size(); ++i) {
    const int kept = std::min(used[i].cls - 1, precision);
    if (kept > 0) out.put(weights[i] >> (used[i].cls - 1 - kept), kept);  // the leading 1 is cut off
  }
}

// Scale, precision and spelling of least total bits; for large streams the smallest scale within
// one bit in 2000 of that, as its tables decode faster.
inline RansChoice choose_table(const std::vector<uint32_t>& symbols, const std::vector<uint64_t>& counts,
                               uint64_t n, uint32_t alphabet) {
  std::vector<RansChoice> found;
  for (int scale = kRansMinScale; scale <= kRansMaxScale; ++scale) {
    if (counts.size() > size_t(1) << scale) continue;
    std::vector<uint32_t> exact = frequencies(counts, n, scale);
    for (uint32_t& f : exact) --f;
    const bool search = counts.size() > 2 && counts.size() <= kRansManySymbols;
    RansChoice best;
    for (int precision = search ? 0 : scale - 1; precision < scale; ++precision) {
      RansChoice made;
      made.scale = scale;
      std::vector<uint32_t> weights = exact;
      for (uint32_t& w : weights) w = round_weight(w, precision);
      if (counts.size() > 2) {
        made.freqs = spread(weights, scale);
      } else {
        made.freqs = {exact[0] + 1, exact[1] + 1};
      }
      put_table(made, symbols, weights, alphabet, precision);
      for (size_t i = 0; i < counts.size(); ++i) {  // at most 2^40 * 2^20 in all
        made.payload += counts[i] * ((uint64_t(scale) << 16) - log2_fixed(made.freqs[i]));
      }
      made.payload >>= 16;
      made.total = made.payload + made.table.size_bits;
      if (best.scale == 0 || made.total < best.total) best = std::move(made);
    }
    found.push_back(std::move(best));
  }
  if (found.empty()) {
    refuse(str(counts.size()) + " different values came; rans takes up to " + str(1 << kRansMaxScale) + ": use raw");
  }
  uint64_t least = found[0].total;
  for (const RansChoice& c : found) least = std::min(least, c.total);
  for (RansChoice& c : found) {
    if (n >= kLargeN ? c.total * 2000 <= least * 2001 : c.total == least) return std::move(c);
  }
  return std::move(found.back());  // not reached: least is one of them
}

// log2 of the lanes: their states (4 bytes each) stay near 0.2 % of the payload.
inline int rans_lanes_log2(uint64_t payload_bits) {
  return payload_bits >= 1 << 19 ? 5 : payload_bits >= 1 << 17 ? 3 : 0;
}

// x / freq by one multiplication: exact for x < 2^32 (Lemire, Kaser, Kurz 2019, arXiv:1902.01961).
// For freq = 1 the reciprocal 2^64 does not fit; 2^64 - 1 gives x - 1, which `start` makes up for.
struct RansStep {
  uint64_t reciprocal;
  uint32_t limit;  // freq << (32 - scale): from here on a word must go first; below 2^32 as freq < 2^scale
  uint32_t freq, start;
};

inline uint64_t mul_high(uint32_t x, uint64_t m) {
  return (uint64_t(x) * (m >> 32) + (uint64_t(x) * (m & 0xffffffff) >> 32)) >> 32;
}

template <class T>
std::vector<uint8_t> rans_encode(const T* values, size_t n, uint32_t alphabet) {
  if (n == 0) return {};
  std::vector<uint64_t> counts = count_values(values, n, alphabet);
  BitWriter head;
  if (counts[values[0]] == n) {
    head.put(kOne, 2);
    head.put(values[0], width_for(alphabet));
    return head.bytes;
  }
  std::vector<uint32_t> symbols;
  for (uint32_t s = 0; s < alphabet; ++s) {
    if (!counts[s]) continue;
    counts[symbols.size()] = counts[s];
    symbols.push_back(s);
  }
  counts.resize(symbols.size());
  const RansChoice choice = choose_table(symbols, counts, n, alphabet);
  const int lanes_log2 = rans_lanes_log2(choice.payload), scale = choice.scale;
  head.put(uint32_t(choice.mode), 2);
  head.put(uint32_t(lanes_log2), 3);
  head.put(uint32_t(scale - kRansMinScale), 2);
  head.extend(choice.table);

  std::vector<RansStep> steps(sizeof(T) == 1 ? 256 : alphabet);
  uint32_t start = 0;
  for (size_t i = 0; i < symbols.size(); ++i) {
    const uint32_t freq = choice.freqs[i];
    const bool one = freq == 1;
    steps[symbols[i]] = {one ? ~uint64_t(0) : ~uint64_t(0) / freq + 1, freq << (32 - scale), freq,
                         one ? start + (uint32_t(1) << scale) - 1 : start};
    start += freq;
  }
  const size_t lanes = size_t(1) << lanes_log2;
  uint32_t states[kRansMaxLanes];
  std::fill_n(states, lanes, kRansLower);
  std::vector<uint8_t> words(2 * n);  // a value gives at most one word
  uint8_t* at = words.data() + words.size();
  for (size_t i = n; i-- > 0;) {
    const RansStep& step = steps[values[i]];
    uint32_t x = states[i & (lanes - 1)];
    if (x >= step.limit) {
      at -= 2;
      at[0] = uint8_t(x);
      at[1] = uint8_t(x >> 8);
      x >>= 16;
    }
    const uint32_t quotient = uint32_t(mul_high(x, step.reciprocal));
    states[i & (lanes - 1)] = (quotient << scale) + (x - quotient * step.freq) + step.start;
  }
  std::vector<uint8_t> out = std::move(head.bytes);
  for (size_t lane = 0; lane < lanes; ++lane) {
    for (int k = 0; k < 4; ++k) out.push_back(uint8_t(states[lane] >> 8 * k));
  }
  out.insert(out.end(), at, words.data() + words.size());
  return out;
}

// Takes as many whole steps of 32 values as it can without reading past the words or writing past
// the output, and moves `run` along.
using RansKernel = size_t (*)(const RansTable&, RansRun&);

class RansDecoder {
 public:
  // Reads and checks everything but the words; after it, n values may be allocated.
  RansDecoder(const uint8_t* data, size_t size, uint64_t n, uint32_t alphabet) : n_(n) {
    if (n == 0) {
      if (size) refuse(str(size) + " bytes came for no values; expected none");
      return;
    }
    BitReader bits(data, size);
    const int mode = int(bits.get(2));
    if (mode == kOne) {
      one_ = true;
      symbol_ = bits.get(width_for(alphabet));
      bits.expect_end();
      if (symbol_ >= alphabet) refuse("symbol " + str(symbol_) + " came; expected below " + str(alphabet));
      return;
    }
    const int lanes_log2 = int(bits.get(3));
    scale_ = int(bits.get(2)) + kRansMinScale;
    const uint32_t used = bits.get(width_for(alphabet)) + 2;
    if (lanes_log2 > 5 || used > std::min(alphabet, uint32_t(1) << scale_)) {
      refuse("2^" + str(lanes_log2) + " lanes and " + str(used) + " symbols came; expected up to 32 and " + str(alphabet));
    }
    lanes_ = size_t(1) << lanes_log2;
    if (used == 2) {
      used_ = get_shape(bits, alphabet, CountRoom(2, 0), mode, 0);
      const uint32_t first = bits.get(scale_) + 1;
      if (first == uint32_t(1) << scale_) refuse("the first of two symbols has all of the frequency; expected both to have some");
      freqs_ = {first, (uint32_t(1) << scale_) - first};
    } else {
      const int top = int(bits.get(4)), precision = int(bits.get(4)), k = int(bits.get(1));
      used_ = get_shape(bits, alphabet, CountRoom(used, top), mode, k);
      for (const Used& u : used_) {
        const int kept = std::max(0, std::min(u.cls - 1, precision));
        const uint32_t head = uint32_t(1) << kept | bits.get(kept);
        freqs_.push_back(u.cls ? head << (u.cls - 1 - kept) : 0);
      }
      freqs_ = spread(std::move(freqs_), scale_);
    }
    bits.align();
    const size_t at = size_t(bits.position / 8), left = size - at;
    if (left < 4 * lanes_ || left % 2) {
      refuse(str(left) + " bytes follow the table; expected " + str(4 * lanes_) + " and an even number more");
    }
    const uint8_t* from = data + at;
    for (size_t lane = 0; lane < lanes_; ++lane, from += 4) {
      states_[lane] = uint32_t(from[0]) | uint32_t(from[1]) << 8 | uint32_t(from[2]) << 16 | uint32_t(from[3]) << 24;
      if (states_[lane] < kRansLower) refuse("lane " + str(lane) + " starts at " + str(states_[lane]) + "; expected at least 65536");
    }
    words_ = from;
    words_end_ = data + size;
    // A value costs at least log2(2^15 / (2^15 - 1)) > 2^-15 bits of the states and words.
    if (n > uint64_t(8) * left << kRansMaxScale) refuse(str(left) + " bytes cannot hold " + str(n) + " values");
  }

  template <class T>
  void run(RansKernel kernel, T* out) {
    if (n_ == 0) return;
    if (one_) {
      std::fill_n(out, n_, T(symbol_));
      return;
    }
    const size_t slots = size_t(1) << scale_;
    std::vector<uint32_t> freq_bias(slots), packed;
    std::vector<uint16_t> symbols(slots + 1, 0);
    size_t slot = 0;
    for (size_t i = 0; i < used_.size(); ++i) {
      for (uint32_t bias = 0; bias < freqs_[i]; ++bias, ++slot) {
        freq_bias[slot] = freqs_[i] | bias << 16;
        symbols[slot] = uint16_t(used_[i].symbol);
      }
    }
    size_t done = 0;
    if (kernel != nullptr && lanes_ == kRansMaxLanes) {
      if (scale_ == kRansMinScale && sizeof(T) == 1) {
        packed.resize(slots);
        for (size_t s = 0; s < slots; ++s) {
          packed[s] = (freq_bias[s] & 0xffff) | (freq_bias[s] >> 16) << 12 | uint32_t(symbols[s]) << 24;
        }
      }
      const RansTable table{scale_, freq_bias.data(), symbols.data(), packed.empty() ? nullptr : packed.data()};
      RansRun state{states_, words_, words_end_, reinterpret_cast<uint8_t*>(out), size_t(n_ / kRansMaxLanes), int(sizeof(T))};
      done = kernel(table, state) * kRansMaxLanes;
      words_ = state.words;
    }
    const uint32_t mask = uint32_t(slots - 1);
    const auto take = [&](size_t i, uint32_t& x) {
      const uint32_t at = x & mask, fb = freq_bias[at];
      out[i] = T(symbols[at]);
      x = (fb & 0xffff) * (x >> scale_) + (fb >> 16);
    };
    size_t i = done;
    // Whole rounds of the lanes while their words are surely there, then value by value.
    for (; lanes_ > 1 && n_ - i >= lanes_ && size_t(words_end_ - words_) > 2 * lanes_; i += lanes_) {
      for (size_t lane = 0; lane < lanes_; ++lane) {
        uint32_t x = states_[lane];
        take(i + lane, x);
        const uint32_t word = uint32_t(words_[0]) | uint32_t(words_[1]) << 8;
        const bool low = x < kRansLower;
        states_[lane] = low ? x << 16 | word : x;
        words_ += low ? 2 : 0;
      }
    }
    for (; i < n_; ++i) {
      uint32_t& x = states_[i & (lanes_ - 1)];
      take(i, x);
      if (x >= kRansLower) continue;
      if (words_ == words_end_) refuse("the data ends at value " + str(i) + " of " + str(n_));
      x = x << 16 | uint32_t(words_[0]) | uint32_t(words_[1]) << 8;
      words_ += 2;
    }
    bool home = words_ == words_end_;
    for (size_t lane = 0; lane < lanes_; ++lane) home = home && states_[lane] == kRansLower;
    if (!home) refuse("the lanes do not end where their encoder started; the data is damaged");
  }

 private:
  uint64_t n_;
  bool one_ = false;
  uint32_t symbol_ = 0;
  int scale_ = 0;
  size_t lanes_ = 0;
  std::vector<Used> used_;
  std::vector<uint32_t> freqs_;
  uint32_t states_[kRansMaxLanes] = {};
  const uint8_t *words_ = nullptr, *words_end_ = nullptr;
};

}  // namespace tersenet
