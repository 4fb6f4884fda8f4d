// csr.h for ARM, which has no gather: four columns are one load, cut up in a register, and each has a sum of its own.
#if defined(__aarch64__)
#include "tersenet/targets.h"

namespace tersenet {
namespace {

struct Four {
  uint32_t column[4];
};

inline Four columns_at(const uint16_t* col) {
  uint64_t four;
  __builtin_memcpy(&four, col, sizeof four);
  return {{uint32_t(four & 0xffff), uint32_t(four >> 16 & 0xffff), uint32_t(four >> 32 & 0xffff), uint32_t(four >> 48)}};
}

inline Four columns_at(const uint32_t* col) {
  uint64_t two[2];
  __builtin_memcpy(two, col, sizeof two);
  return {{uint32_t(two[0]), uint32_t(two[0] >> 32), uint32_t(two[1]), uint32_t(two[1] >> 32)}};
}

template <class Col>
inline void run(const uint32_t* row_start, const Col* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums) {
  for (uint32_t r = from; r < to; ++r) {
    float sum[4] = {};
    uint32_t e = row_start[r];
    const uint32_t end = row_start[r + 1];
    for (; e + 4 <= end; e += 4) {
      const Four at = columns_at(col + e);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) sum[k] = __builtin_fmaf(value[e + uint32_t(k)], x[at.column[k]], sum[k]);
    }
    for (; e < end; ++e) sum[0] += value[e] * x[col[e]];
    sums[r - from] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

}  // namespace

void csr16_run_neon(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums) {
  run(row_start, static_cast<const uint16_t*>(col), value, from, to, x, sums);
}

void csr32_run_neon(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums) {
  run(row_start, static_cast<const uint32_t*>(col), value, from, to, x, sums);
}

}  // namespace tersenet
#endif
