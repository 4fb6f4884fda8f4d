// gaps.h - the columns that gaps name, as long as they stay in one row.
//
// A gap is how many places are skipped before the next one that has a value; the filler skips as many and names none.
#pragma once

#include <stdint.h>

namespace tersenet {

struct GapRun {
  const uint8_t* gap;   // the next one
  const uint8_t* stop;  // behind the last
  uint32_t* to;         // where the next column goes
  uint32_t* last;       // behind the last column there is room for
  uint64_t where;       // places passed
};

// Takes gaps, sixteen at a time, while they stay below `end` and have room; the row's first place is `begin`.
using GapKernel = void (*)(GapRun& run, uint8_t filler, uint64_t begin, uint64_t end);

}  // namespace tersenet
