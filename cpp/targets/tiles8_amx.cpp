// tiles8.h in AMX: tdpbsud multiplies 16 rows of 64 signed bytes by 64 rows of 16 unsigned ones, four rows to a quad, as a
// panel has them; vpexpandb puts the weights of a row in their places.
#if defined(TERSENET_AMX)
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "tersenet/targets.h"

namespace tersenet {
namespace {

// Of ldtilecfg: eight tiles of 16 rows of 64 bytes.
struct alignas(64) Shapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

constexpr Shapes kShapes;
constexpr size_t kAccStep = kPanel * sizeof(int32_t), kQuadStep = 4 * kPanel;

const int8_t* expand(const uint64_t* mask, const int8_t* value, int8_t* tile) {
#pragma GCC unroll 16
  for (uint32_t i = 0; i < kTile8Rows; ++i) {
    _mm512_store_si512(tile + i * kTile8Columns, _mm512_maskz_expand_epi8(mask[i], _mm512_loadu_si512(value)));
    value += _mm_popcnt_u64(mask[i]);
  }
  return value;
}

// The intrinsics of tiles do not say that they read memory.
inline void written() { __asm__ volatile("" ::: "memory"); }

template <int kVectors>
const int8_t* block_of(const uint64_t* mask, const int8_t* value, uint32_t count, const uint8_t* panel, int32_t* acc, bool first) {
  alignas(64) int8_t dense[2][kTile8Rows * kTile8Columns];
  value = expand(mask, value, dense[0]);
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, acc, kAccStep);
    if (kVectors > 1) _tile_loadd(1, acc + 16, kAccStep);
    if (kVectors > 2) _tile_loadd(2, acc + 32, kAccStep);
    if (kVectors > 3) _tile_loadd(3, acc + 48, kAccStep);
  }
  for (uint32_t t = 0; t < count; ++t, panel += kTile8Quads * kQuadStep) {
    if (t + 1 < count) value = expand(mask + (t + 1) * kTile8Rows, value, dense[(t + 1) % 2]);  // before the stores are waited for
    written();
    _tile_loadd(4, dense[t % 2], kTile8Columns);
    _tile_loadd(5, panel, kQuadStep);
    _tile_dpbsud(0, 4, 5);
    if (kVectors > 1) {
      _tile_loadd(6, panel + 64, kQuadStep);
      _tile_dpbsud(1, 4, 6);
    }
    if (kVectors > 2) {
      _tile_loadd(7, panel + 128, kQuadStep);
      _tile_dpbsud(2, 4, 7);
    }
    if (kVectors > 3) {
      _tile_loadd(5, panel + 192, kQuadStep);
      _tile_dpbsud(3, 4, 5);
    }
  }
  _tile_stored(0, acc, kAccStep);
  if (kVectors > 1) _tile_stored(1, acc + 16, kAccStep);
  if (kVectors > 2) _tile_stored(2, acc + 32, kAccStep);
  if (kVectors > 3) _tile_stored(3, acc + 48, kAccStep);
  written();
  return value;
}

template <int kVectors>
void run(const uint64_t* mask, const int8_t* value, uint32_t blocks, uint32_t count, const uint8_t* panel, int32_t* acc, bool first) {
  _tile_loadconfig(&kShapes);
  for (uint32_t b = 0; b < blocks; ++b) value = block_of<kVectors>(mask + size_t(b) * count * kTile8Rows, value, count, panel, acc + size_t(b) * kTile8Rows * kPanel, first);
  _tile_release();  // what a tile holds is saved at every switch of threads
}

}  // namespace

void tiles8_run_amx(const uint64_t* mask, const int8_t* value, uint32_t blocks, uint32_t count, const uint8_t* panel, int width, int32_t* acc, bool first) {
  switch ((width + 15) / 16) {
    case 1: return run<1>(mask, value, blocks, count, panel, acc, first);
    case 2: return run<2>(mask, value, blocks, count, panel, acc, first);
    case 3: return run<3>(mask, value, blocks, count, panel, acc, first);
    default: return run<4>(mask, value, blocks, count, panel, acc, first);
  }
}

// Linux lends the tiles to a process that asks for them (ARCH_REQ_XCOMP_PERM); its threads inherit them.
bool amx_usable() {
#if defined(__linux__)
  static const bool usable = __builtin_cpu_supports("amx-int8") && __builtin_cpu_supports("avx512vbmi2") && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return usable;
#else
  return false;
#endif
}

}  // namespace tersenet
#endif
