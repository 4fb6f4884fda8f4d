// range.h - adaptive binary range coder with logistic mixing (docs/notes/range.md; in the line of LZMA and PAQ).
//
//   range_encode   n values below alphabet (1 to 65,536) to bytes
//   RangeDecoder   the inverse, of bytes from anyone
//
// READ FIRST
//   1. A value is a few yes-or-no decisions; range_value names them, RangeModel predicts each. No table is sent: a head of
//      2 to 12 bytes, then the code.
//   2. Encoder and decoder run the same model over the same decisions, so they stay in step.
//   3. Between decisions 2^24 <= range < 2^32, and a probability is 1 to 65,535 of 65,536: no part of a range is empty.
//   4. The last bytes name the shortest byte string all of whose extensions lie in the range. So no encoding is the
//      beginning of another, each has one spelling, and every cut and every byte more is found.
//   5. The encoder chooses by integers, so the same values give the same bytes everywhere.
#pragma once

#include "tersenet/huffman.h"
#include "tersenet/range_model.h"
#include "tersenet/refuse.h"
#include "tersenet/trellis.h"

namespace tersenet {

constexpr uint32_t kRangeBottom = 1 << 24;
constexpr uint32_t kMaxPeriod = 64;
constexpr uint64_t kMinRows = 8;      // so that the means of columns stay within a quarter of the values' bytes
constexpr int kDecisionLog2 = 16;     // a decision takes more than 2^-16 bits
constexpr size_t kCentres = 4;        // values that may be the centre of a trellis
constexpr uint64_t kPathUsed = 48, kShortestPath = 8, kLongestPath = 1 << 16;  // what a trellis is looked for in
constexpr uint32_t kOddNode = 17;     // that of magnitudes from 2^16 on, which a trellis never asks
constexpr size_t kTrial = 4096;       // values on which the encoder compares heads
constexpr uint64_t kMaxRefine = 1 << 16;   // values up to which heads are compared on the whole of them,
constexpr size_t kLeastRefine = 32, kMostRefine = 1 << 13;  // and bytes: fewer have nothing to give, more take long
constexpr uint64_t kMaxSearch = 1 << 24;  // values up to which it looks for rows: 16 * 121 n^2 stays below 2^59

// The decisions of one value, in order. decide(bit, full, node, set) codes `bit`, or reads one where it is not known,
// and returns it; the last three are RangeModel::predict's.
template <class Decide>
uint32_t range_value(const RangeHead& head, uint32_t alphabet, int width, uint32_t value, uint32_t odd, const Decide& decide) {
  const uint32_t centre = head.centre;
  const uint32_t first = odd ? kOddNode : 0;
  if (!decide(value != centre, first, first, first)) return centre;
  if (head.mode == 1) {
    uint32_t node = 1;
    for (int depth = 0; depth < width; ++depth) {
      node = node << 1 | decide(value >> (width - 1 - depth) & 1, node, depth < 5 ? node : 32 + depth, 1 + depth);
    }
    node -= uint32_t(1) << width;
    if (node == centre || node >= alphabet) refuse("the value " + str(node) + " is spelled where no encoder spells it");
    return node;
  }
  // Distances from the centre; in a trellis the number of the distance among those that the state allows.
  const auto number = [&](uint32_t distance) { return head.states ? (distance + odd) >> 1 : distance; };
  const uint32_t most_below = number(centre), most_above = number(alphabet - 1 - centre);
  if (!most_below && !most_above) refuse("a value came that is not the centre, where no other can be");
  const uint32_t below = most_below && (!most_above || decide(value < centre, 1, 1, 1));
  const uint32_t most = below ? most_below : most_above;
  const uint32_t far = number(below ? centre - value : value - centre);  // 1 to most
  uint32_t cls = 0;
  for (; uint32_t(2) << cls <= most; ++cls) {
    const uint32_t node = 2 + 16 * below + cls;
    if (!decide(far >= uint32_t(2) << cls, node, node, 2 + cls)) break;
  }
  uint32_t found = 1;
  for (uint32_t depth = 0; depth < cls; ++depth) {
    const uint32_t left = cls - 1 - depth;
    uint32_t bit = 0;
    if ((2 * found + 1) << left <= most) {
      const uint32_t few = std::min<uint32_t>(cls, 7);
      const uint32_t node = depth == 0 ? 34 + few : depth == 1 ? 42 + 2 * few + (found & 1) : 56 + std::min<uint32_t>(depth, 7);
      const uint32_t full = 34 + (below << width) + (uint32_t(1) << cls) + found - 1;
      bit = decide(far >> left & 1, full, node, 18 + 8 * std::min<uint32_t>(depth, 4) + few);
    }
    found = found << 1 | bit;
  }
  if (head.states) found = 2 * found - odd;
  return below ? centre - found : centre + found;
}

// Runs the model over n values, which `bit(want, p)` codes or, with kRead, gives.
template <bool kRead, class T, class Bit>
void range_walk(const RangeHead& head, uint32_t alphabet, T* values, uint64_t n, Bit&& bit) {
  const int width = bit_length(alphabet - 1);
  const uint32_t half = alphabet >> 1;
  RangeModel model(head, alphabet);
  const auto decide = [&](uint32_t want, uint32_t full, uint32_t node, uint32_t set) {
    const uint32_t got = bit(want, model.predict(full, node, set));
    model.update(got);
    return got;
  };
  const auto difference = [&](uint32_t to, uint32_t from) { return (to + half + alphabet - from) % alphabet; };
  const auto coded = [&](uint64_t i) -> uint32_t {
    return head.differences ? difference(values[i], i ? values[i - 1] : 0) : values[i];
  };
  const Trellis trellis(head.states);
  uint64_t in_run = 0;
  uint32_t before = head.centre, second = head.centre, state = 0;
  [[maybe_unused]] uint32_t last = 0;
  for (uint64_t i = 0; i < n; ++i) {
    model.begin(before, second, i >= head.period ? coded(i - head.period) : head.centre,
                head.row && i >= head.row ? coded(i - head.row) : head.centre);
    second = before;
    before = range_value(head, alphabet, width, kRead ? 0 : coded(i), state & 1, decide);
    state = trellis.after(state, before, head.centre);
    if (++in_run == head.run) in_run = state = 0;
    if constexpr (kRead) {
      last = head.differences ? (before + last + alphabet - half) % alphabet : before;
      values[i] = T(last);
    }
    model.end(before);
  }
}

class RangeWriter {
 public:
  explicit RangeWriter(std::vector<uint8_t> head) : bytes(std::move(head)), first_(bytes.size()) {}

  std::vector<uint8_t> bytes;

  uint32_t operator()(uint32_t bit, uint32_t p) {
    const uint32_t part = (range_ >> 16) * p;
    if (bit) {
      range_ = part;
    } else {
      low_ += part;
      range_ -= part;
    }
    for (; range_ < kRangeBottom; range_ <<= 8) shift();
    return bit;
  }

  // One byte if its extensions fit into the range, else two: 2^24 is more than twice 2^16.
  void finish() {
    const int kept = up(24) + kRangeBottom <= low_ + range_ ? 1 : 2;
    low_ = up(32 - 8 * kept);
    for (int i = 0; i < kept; ++i) shift();
  }

 private:
  uint64_t low_ = 0;  // below 2^33: bit 32 is a carry into the bytes
  uint32_t range_ = 0xffffffff;
  size_t first_;

  uint64_t up(int bits) const { return (low_ + (uint64_t(1) << bits) - 1) >> bits << bits; }

  // The code stays below 1, so a carry ends in the code's own bytes.
  void shift() {
    if (low_ >> 32) {
      size_t i = bytes.size();
      while (i > first_ && ++bytes[--i] == 0) continue;
    }
    bytes.push_back(uint8_t(low_ >> 24));
    low_ = low_ << 8 & 0xffffffff;
  }
};

inline void put_head(std::vector<uint8_t>& out, const RangeHead& head, uint32_t alphabet) {
  const bool rows = head.period > 1 || head.row > 0;
  const auto varint = [&](uint64_t x) {
    for (; x >= 128; x >>= 7) out.push_back(uint8_t(x | 128));
    out.push_back(uint8_t(x));
  };
  const bool trellis = head.states > 0;
  out.push_back(uint8_t(head.mode | head.differences << 2 | rows << 3 | (head.mode ? head.rate - 13 : 0) << 4 | trellis << 6));
  out.push_back(uint8_t(head.centre));
  if (alphabet > 256) out.push_back(uint8_t(head.centre >> 8));
  if (rows) {
    varint(head.period);
    varint(head.row);
  }
  if (trellis) {
    out.push_back(uint8_t(head.states));
    varint(head.run);
  }
}

template <class T>
std::vector<uint8_t> range_encode_as(const RangeHead& head, const T* values, uint64_t n, uint32_t alphabet) {
  std::vector<uint8_t> bytes;
  put_head(bytes, head, alphabet);
  RangeWriter out(std::move(bytes));
  range_walk<false>(head, alphabet, values, n, out);
  out.finish();
  return std::move(out.bytes);
}

// Rows whose columns differ most by a chi-square test of the sums of magnitudes' levels, and the same for a period of
// at most 64. A division of n into rows must be worth half its degrees of freedom more than chance, and 25 more.
template <class T>
void find_rows(RangeHead& head, const T* values, uint64_t n, uint32_t alphabet) {
  if (n > kMaxSearch) return;
  const Magnitude magnitude(head.centre, alphabet);
  std::vector<uint8_t> levels(n);
  uint64_t sum = 0, squares = 0;
  for (uint64_t i = 0; i < n; ++i) {
    levels[i] = RangeTables::get().level[magnitude(values[i])];
    sum += levels[i];
    squares += levels[i] * levels[i];
  }
  const uint64_t spread = (n * squares - sum * sum) / n;  // n times the variance
  if (spread == 0) return;
  int64_t best_row = 0, best_period = 0;
  std::vector<uint32_t> columns;
  for (uint64_t row = 2; row <= n / kMinRows; ++row) {
    if (n % row) continue;
    columns.assign(row, 0);
    for (uint64_t i = 0; i < n; i += row) {
      for (uint64_t c = 0; c < row; ++c) columns[c] += levels[i + c];
    }
    uint64_t between = 0;
    for (uint32_t c : columns) between += uint64_t(c) * c;
    const int64_t gain = int64_t(16 * (row * between - sum * sum) / spread) - int64_t(24 * row + 400);
    if (gain > best_row) {
      best_row = gain;
      head.row = row;
    }
    if (row <= kMaxPeriod && gain > best_period) {
      best_period = gain;
      head.period = uint32_t(row);
    }
  }
}

// The trellis that all values are a path through, if there is one: by chance values of which kPathUsed are not the centre
// are none. Looked for around the values that come most often.
template <class T>
bool find_trellis(RangeHead& head, const T* values, uint64_t n, const std::vector<uint64_t>& counts) {
  std::vector<uint32_t> centres;
  for (uint32_t value = 0; value < counts.size(); ++value) {
    if (counts[value] && n - counts[value] >= kPathUsed) centres.push_back(value);
  }
  const size_t tried = std::min(kCentres, centres.size());
  std::partial_sort(centres.begin(), centres.begin() + tried, centres.end(),
                    [&](uint32_t a, uint32_t b) { return counts[a] != counts[b] ? counts[a] > counts[b] : a < b; });
  centres.resize(tried);
  for (uint64_t run = kShortestPath; run <= std::min(n, kLongestPath); ++run) {
    if (n % run) continue;
    for (int states = kLeastStates; states <= kMostStates; ++states) {
      for (const uint32_t centre : centres) {
        if (!follows(Trellis(states), values, n, run, centre)) continue;
        head.centre = centre;
        head.states = states;
        head.run = run;
        return true;
      }
    }
  }
  return false;
}

// The shortest code of n values among the heads that were tried.
template <class T>
struct Shortest {
  const T* values;
  uint64_t n;
  uint32_t alphabet;
  RangeHead head;
  std::vector<uint8_t> bytes = range_encode_as(head, values, n, alphabet);

  void attempt(const RangeHead& other) {
    std::vector<uint8_t> made = range_encode_as(other, values, n, alphabet);
    if (made.size() >= bytes.size()) return;
    bytes = std::move(made);
    head = other;
  }
};

// Of short streams every head is coded whole: what the first values promise is a few bytes off, and so are sums of columns.
// One field after another: no row, periods that divide the row (or n), rates, the other mode.
template <class T>
void refine(Shortest<T>& found) {
  if (found.n > kMaxRefine || found.bytes.size() < kLeastRefine || found.bytes.size() > kMostRefine) return;
  RangeHead other = found.head;
  other.row = 0;
  if (found.head.row) found.attempt(other);
  const uint64_t whole = found.head.row ? found.head.row : found.n;
  for (uint32_t period = 1; period <= kMaxPeriod; ++period) {
    other = found.head;
    other.period = period;
    if (whole % period == 0 && period != found.head.period) found.attempt(other);
  }
  for (int rate = 13; rate <= 16; ++rate) {
    other = found.head;
    other.rate = rate;
    if (rate != found.head.rate) found.attempt(other);
  }
  other = found.head;
  other.mode = 3 - found.head.mode;
  if (!found.head.states) found.attempt(other);
}

// Starts from a tree around the most frequent value, keeps what makes the first values shorter, and refines it.
template <class T>
std::vector<uint8_t> range_encode(const T* values, uint64_t n, uint32_t alphabet) {
  if (n == 0) return {};
  const std::vector<uint64_t> counts = count_values(values, n, alphabet);
  RangeHead in_rows;
  in_rows.centre = uint32_t(std::max_element(counts.begin(), counts.end()) - counts.begin());
  if (counts[in_rows.centre] == n) {
    in_rows.mode = 0;
    std::vector<uint8_t> bytes;
    put_head(bytes, in_rows, alphabet);
    return bytes;
  }
  find_rows(in_rows, values, n, alphabet);
  Shortest<T> found{values, std::min<uint64_t>(n, kTrial), alphabet, in_rows};
  RangeHead other = in_rows;
  other.mode = 2;
  found.attempt(other);
  other = RangeHead();
  other.differences = true;
  other.centre = alphabet >> 1;
  for (other.mode = 1; other.mode <= 2; ++other.mode) found.attempt(other);
  other = in_rows;
  other.mode = 2;
  if (find_trellis(other, values, n, counts)) found.attempt(other);
  for (int rate = 14; n <= kTrial && rate >= 13; --rate) {
    other = found.head;
    other.rate = rate;
    found.attempt(other);
  }
  if (n > kTrial) found = Shortest<T>{values, n, alphabet, found.head};
  refine(found);
  return std::move(found.bytes);
}

class RangeReader {
 public:
  RangeReader(const uint8_t* at, const uint8_t* end) : at_(at), end_(end) {
    for (int i = 0; i < 4; ++i) next();
    if (code_ >= range_) refuse("the code begins outside its range");
  }

  uint32_t operator()(uint32_t, uint32_t p) {
    const uint32_t part = (range_ >> 16) * p;
    const uint32_t bit = code_ < part;
    if (bit) {
      range_ = part;
    } else {
      code_ -= part;
      range_ -= part;
    }
    for (; range_ < kRangeBottom; range_ <<= 8) next();
    return bit;
  }

  // RangeWriter::finish again. code_ is the last four bytes minus low, so those bytes give the low end of the range.
  void expect_end() const {
    const uint32_t low = window_ - code_, to_first = (0 - low) & (kRangeBottom - 1), to_second = (0 - low) & 0xffff;
    const bool one = uint64_t(to_first) + kRangeBottom <= range_;
    if (at_ != end_ || past_ != (one ? 3 : 2) || code_ != (one ? to_first : to_second)) {
      refuse("the data does not end as its encoder would have ended it; it is damaged");
    }
  }

 private:
  const uint8_t *at_, *end_;
  uint32_t code_ = 0;     // what was read, minus the low end of the range; below range_ if the bytes are an encoding
  uint32_t window_ = 0;   // the last four bytes
  uint32_t range_ = 0xffffffff;
  int past_ = 0;          // zero bytes taken behind the end

  void next() {
    uint32_t byte = 0;
    if (at_ != end_) {
      byte = *at_++;
    } else if (++past_ > 3) {
      refuse("the data ends before its values do");
    }
    code_ = code_ << 8 | byte;
    window_ = window_ << 8 | byte;
  }
};

class RangeDecoder {
 public:
  // Reads and checks the head; after it, n values may be allocated.
  RangeDecoder(const uint8_t* data, size_t size, uint64_t n, uint32_t alphabet)
      : at_(data), end_(data + size), n_(n), alphabet_(alphabet) {
    if (n == 0) {
      if (size) refuse(str(size) + " bytes came for no values; expected none");
      return;
    }
    const uint32_t flags = byte();
    head_.mode = int(flags & 3);
    head_.differences = flags >> 2 & 1;
    head_.rate = 13 + int(flags >> 4 & 3);
    const bool trellis = flags >> 6;
    if (head_.mode == 3 || flags > 127 || (head_.mode == 0 && flags) || (trellis && (head_.mode != 2 || head_.differences))) {
      refuse("flags of " + str(flags) + " came, which no encoder writes");
    }
    head_.centre = byte();
    if (alphabet > 256) head_.centre |= byte() << 8;
    if (head_.centre >= alphabet) refuse("symbol " + str(head_.centre) + " came; expected below " + str(alphabet));
    if (head_.mode == 0) {
      if (at_ != end_) refuse(str(end_ - at_) + " bytes are left over; expected none");
      return;
    }
    if (flags >> 3 & 1) {
      const uint64_t period = varint();
      head_.row = varint();
      if (period < 1 || period > kMaxPeriod || head_.row > n / kMinRows || (period == 1 && head_.row == 0)) {
        refuse("rows of " + str(head_.row) + " and a period of " + str(period) + " came for " + str(n) + " values");
      }
      head_.period = uint32_t(period);
    }
    if (trellis) {
      head_.states = int(byte());
      head_.run = varint();
      if (head_.states < kLeastStates || head_.states > kMostStates || head_.run < 1 || head_.run > n || n % head_.run) {
        refuse("a trellis of 2^" + str(head_.states) + " states in runs of " + str(head_.run) + " came for " + str(n) + " values");
      }
    }
    const uint64_t left = uint64_t(end_ - at_);
    if (n > 8 * left << kDecisionLog2) refuse(str(left) + " bytes cannot hold " + str(n) + " values");
  }

  template <class T>
  void run(T* out) const {
    if (n_ == 0) return;
    if (head_.mode == 0) {
      std::fill_n(out, n_, T(head_.centre));
      return;
    }
    RangeReader in(at_, end_);
    range_walk<true>(head_, alphabet_, out, n_, in);
    in.expect_end();
  }

 private:
  const uint8_t *at_, *end_;
  uint64_t n_;
  uint32_t alphabet_;
  RangeHead head_;

  uint32_t byte() {
    if (at_ == end_) refuse("the data ends inside its head");
    return *at_++;
  }

  // LEB128 of at most 48 bits, in its shortest spelling.
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 49; shift += 7) {
      const uint64_t part = byte();
      value |= (part & 127) << shift;
      if (part < 128 && (part || shift == 0)) return value;
      if (part < 128) break;
    }
    refuse("a number of the head is spelled with needless bytes");
  }
};

}  // namespace tersenet
