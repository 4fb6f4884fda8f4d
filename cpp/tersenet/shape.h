// shape.h - the shape of a code table: which symbols are used, and a small class for each.
//
// READ FIRST
//   1. A room knows which classes are possible next (low..high) and when the table is complete.
//      Writer and reader ask it the same questions, so nothing after the last used symbol is stored.
//   2. A class is coded by its rank among the possible ones: the previous class first, then
//      alternately one step further on each side, the side of the last change first.
//   3. A rank is written in unary (k = 0) or with its lowest bit apart (k = 1); the last possible
//      rank has no stop bit, and a class without alternative takes no bit.
//
// Reading takes at most `alphabet` steps of at most 17 ranks each, whatever the bytes say.
#pragma once

#include <vector>

#include "tersenet/bits.h"

namespace tersenet {

enum ShapeMode { kOne = 0, kDense = 1, kRuns = 2, kFlags = 3 };

constexpr int kMaxAlphabet = 1 << 16;
constexpr int kGammaBits = 17;  // a run of all 2^16 symbols

struct Used {
  uint32_t symbol;
  int cls;
};

// Code lengths of at most `limit` (1..16) whose 2^-length sum to exactly 1.
// left_ counts in units of 2^-limit; a class is only taken from low..high, so it never goes below 0.
class KraftRoom {
 public:
  explicit KraftRoom(int limit) : high(limit), left_(uint32_t(1) << limit) { update(); }
  int low = 1, high;
  bool done = false;
  void take(int cls) {
    left_ -= uint32_t(1) << (high - cls);
    update();
  }

 private:
  uint32_t left_;
  void update() {
    done = left_ == 0;
    low = high + 1 - bit_length(left_);
    if (low < 1) low = 1;
  }
};

// `used` symbols with any class from 0 to `high`.
class CountRoom {
 public:
  CountRoom(uint32_t used, int high) : high(high), done(used == 0), left_(used) {}
  int low = 0, high;
  bool done;
  void take(int) { done = --left_ == 0; }

 private:
  uint32_t left_;
};

class Ranker {
 public:
  explicit Ranker(int high) : previous_(high) {}

  // The class with this rank, 0 <= rank <= high - low.
  int at(int rank, int low, int high) const {
    const int start = clamp(low, high);
    if (rank == 0) return start;
    for (int step = 1;; ++step) {
      for (int side : {direction_, -direction_}) {
        const int cls = start + side * step;
        if (cls >= low && cls <= high && --rank == 0) return cls;
      }
    }
  }

  int rank(int cls, int low, int high) const {
    int rank = 0;
    while (at(rank, low, high) != cls) ++rank;
    return rank;
  }

  void took(int cls, int low, int high) {
    const int start = clamp(low, high);
    if (cls != start) direction_ = cls > start ? 1 : -1;
    previous_ = cls;
  }

 private:
  int previous_, direction_ = -1;
  int clamp(int low, int high) const { return previous_ < low ? low : previous_ > high ? high : previous_; }
};

// `used` ascends by symbol and fills the room exactly.
template <class Room>
void put_shape(BitWriter& out, const std::vector<Used>& used, Room room, int mode, int k) {
  Ranker ranker(room.high);
  const uint32_t end = used.back().symbol + 1;
  if (mode == kRuns) out.put(used[0].symbol == 0, 1);
  size_t next = 0;
  for (uint32_t symbol = 0; symbol < end; ++symbol) {
    const bool is_used = used[next].symbol == symbol;
    if (mode == kFlags) out.put(is_used, 1);
    if (mode == kRuns) {
      if (!is_used) {
        out.put_gamma(used[next].symbol - symbol);
        symbol = used[next].symbol - 1;
        continue;
      }
      if (next == 0 || used[next - 1].symbol + 1 != symbol) {
        size_t last = next;
        while (last + 1 < used.size() && used[last + 1].symbol == used[last].symbol + 1) ++last;
        out.put_gamma(uint32_t(last - next + 1));
      }
    }
    if (!is_used) continue;
    const int cls = used[next++].cls, ranks = room.high - room.low + 1;
    if (ranks > 1) {
      const int rank = ranker.rank(cls, room.low, room.high), last = (ranks - 1) >> k;
      out.put(uint32_t(rank & k), k);
      out.put_unary(rank >> k, rank >> k < last);
    }
    ranker.took(cls, room.low, room.high);
    room.take(cls);
  }
}

template <class Room>
std::vector<Used> get_shape(BitReader& bits, uint32_t alphabet, Room room, int mode, int k) {
  Ranker ranker(room.high);
  std::vector<Used> used;
  bool is_used = mode == kDense || (mode == kRuns && !bits.get(1));
  uint32_t run = 0;
  for (uint32_t symbol = 0; !room.done; ++symbol) {
    if (symbol == alphabet) refuse("the code table is not complete after all " + str(alphabet) + " symbols");
    if (mode == kRuns) {
      if (run == 0) {
        is_used = !is_used;
        run = bits.get_gamma(kGammaBits);
        if (run > alphabet - symbol) {
          refuse("a run of " + str(run) + " symbols at " + str(symbol) + " leaves the alphabet of " + str(alphabet));
        }
      }
      --run;
    } else if (mode == kFlags) {
      is_used = bits.get(1);
    }
    if (!is_used) continue;
    const int ranks = room.high - room.low + 1;
    int rank = 0;
    if (ranks > 1) {
      const int low_bit = int(bits.get(k));
      rank = bits.get_unary((ranks - 1) >> k) << k | low_bit;
      if (rank >= ranks) refuse("class rank " + str(rank) + " came; " + str(ranks) + " are possible");
    }
    const int cls = ranker.at(rank, room.low, room.high);
    ranker.took(cls, room.low, room.high);
    room.take(cls);
    used.push_back({symbol, cls});
  }
  if (run) refuse("the code table is complete " + str(run) + " symbols before its last run ends");
  return used;
}

struct Shape {
  int mode, k;
  BitWriter bits;
};

// The spelling with the fewest bits; the first one of equals.
template <class Room>
Shape smallest_shape(const std::vector<Used>& used, const Room& room) {
  Shape best{0, 0, {}};
  for (int mode : {kDense, kRuns, kFlags}) {
    if (mode == kDense && used.size() != used.back().symbol + 1) continue;
    for (int k : {0, 1}) {
      BitWriter out;
      put_shape(out, used, room, mode, k);
      if (best.mode == kOne || out.size_bits < best.bits.size_bits) best = {mode, k, std::move(out)};
    }
  }
  return best;
}

}  // namespace tersenet
