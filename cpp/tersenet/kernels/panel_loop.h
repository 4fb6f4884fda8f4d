// panel_loop.h - the loops of panel.h on vectors. A column of kernels defines, before it includes this:
//
//   vec, kLanes            a vector of floats, and how many
//   v_load, v_store        unaligned
//   v_set(float), v_zero()
//   v_fma(a, b, c)         a * b + c, fused where the column has it
//   v_add, v_min, v_max    v_max(bound, x) and v_min(bound, x) give x where x is NaN
//   v_larger(a, b)         the larger one; a NaN on either side wins
//   v_load_part(x, n)      n <= kLanes values and zeros; nothing behind them is read
//   v_store_part(y, v, n)  the first n <= kLanes values
//   v_zip(a, b, low, high) a[0], b[0], a[1], b[1], ...
//   v_split(a, b, e, o)    of the values of a and then b, those at even and at odd places
//   kBlockVectors          how many vectors of a row the dense loop holds in registers beside kPanelRows rows
#pragma once

#include "tersenet/kernels/panel.h"

namespace tersenet {
namespace {

// Weights are read once for each panel, often from the third-level cache, which answers after some 50 columns of a block.
constexpr size_t kWeightsAhead = 64 * kPanelRows;

inline void prefetch(const void* at) {
#if defined(__GNUC__)
  __builtin_prefetch(at);
#else
  (void)at;
#endif
}

// kRows of one block, or of two that follow each other.
template <int kRows, int kVectors>
inline void dense_block(const float* block, size_t depth, const float* panel, size_t panel_step, float* acc, bool first) {
  vec sum[kRows][kVectors];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = first ? v_zero() : v_load(acc + i * kPanel + v * kLanes);
  }
  const float* const next = block + depth * kPanelRows - kPanelRows;
  for (size_t k = 0; k < depth * kPanelRows; k += kPanelRows, panel += panel_step) {
    prefetch(block + k + kWeightsAhead);
    vec x[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) x[v] = v_load(panel + v * kLanes);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const vec w = v_set((i < kPanelRows ? block : next)[k + size_t(i)]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = v_fma(w, x[v], sum[i][v]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) v_store(acc + i * kPanel + v * kLanes, sum[i][v]);
  }
}

template <int kVectors>
inline void dense_rows(const float* block, size_t rows, size_t depth, const float* panel, size_t panel_step, float* acc, bool first) {
  // Few sums would wait for each other: two blocks at a time.
  constexpr bool kPairs = kVectors * 2 <= kBlockVectors;
  for (; kPairs && rows >= 2 * kPanelRows; rows -= 2 * kPanelRows, block += 2 * kPanelRows * depth, acc += 2 * kPanelRows * kPanel) {
    dense_block<kPairs ? 2 * kPanelRows : 1, kVectors>(block, depth, panel, panel_step, acc, first);
  }
  for (; rows >= kPanelRows; rows -= kPanelRows, block += kPanelRows * depth, acc += kPanelRows * kPanel) {
    dense_block<kPanelRows, kVectors>(block, depth, panel, panel_step, acc, first);
  }
  switch (rows) {
    case 1: return dense_block<1, kVectors>(block, depth, panel, panel_step, acc, first);
    case 2: return dense_block<2, kVectors>(block, depth, panel, panel_step, acc, first);
    case 3: return dense_block<3, kVectors>(block, depth, panel, panel_step, acc, first);
    case 4: return dense_block<4, kVectors>(block, depth, panel, panel_step, acc, first);
    case 5: return dense_block<5, kVectors>(block, depth, panel, panel_step, acc, first);
  }
}

void panel_dense(const float* blocks, size_t rows, size_t depth, const float* panel, size_t panel_step, int width, float* acc, bool first) {
  int vectors = (width + kLanes - 1) / kLanes;
  while (vectors > 0) {
    const int now = vectors < kBlockVectors ? vectors : kBlockVectors;
    switch (now) {
      case 1: dense_rows<1>(blocks, rows, depth, panel, panel_step, acc, first); break;
      case 2: dense_rows<2>(blocks, rows, depth, panel, panel_step, acc, first); break;
#if TERSENET_BLOCK_VECTORS > 2
      case 3: dense_rows<3>(blocks, rows, depth, panel, panel_step, acc, first); break;
      default: dense_rows<4>(blocks, rows, depth, panel, panel_step, acc, first); break;
#endif
    }
    vectors -= now;
    panel += now * kLanes;
    acc += now * kLanes;
  }
}

template <int kVectors>
inline void sparse_rows(const uint32_t* start, const uint16_t* col, const float* value, size_t rows, const float* panel, size_t step, float* acc, bool first) {
  for (size_t r = 0; r < rows; ++r, acc += kPanel) {
    vec sum[kVectors];
    uint32_t e = start[r];
    const uint32_t end = start[r + 1];
    if (e == end && !first) continue;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[v] = first ? v_zero() : v_load(acc + v * kLanes);
    for (; e < end; ++e) {
      const float* x = panel + size_t(col[e]) * step;
      const vec w = v_set(value[e]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[v] = v_fma(w, v_load(x + v * kLanes), sum[v]);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) v_store(acc + v * kLanes, sum[v]);
  }
}

void panel_sparse(const uint32_t* start, const uint16_t* col, const float* value, size_t rows, const float* panel, size_t step, int width, float* acc, bool first) {
  const int vectors = (width + kLanes - 1) / kLanes;
  constexpr int kAll = kPanel / kLanes;
  if (vectors * 4 <= kAll) return sparse_rows<(kAll + 3) / 4>(start, col, value, rows, panel, step, acc, first);
  if (vectors * 2 <= kAll) return sparse_rows<(kAll + 1) / 2>(start, col, value, rows, panel, step, acc, first);
  if (vectors * 4 <= kAll * 3) return sparse_rows<(kAll * 3 + 3) / 4>(start, col, value, rows, panel, step, acc, first);
  sparse_rows<kAll>(start, col, value, rows, panel, step, acc, first);
}

// What a row's sums go through: finish() on vectors, but for leaky.
struct Finish {
  vec scale, shift, low, high;
  bool clamp;

  Finish(const Epilogue& epilogue, size_t row)
      : scale(v_set(epilogue.scale ? epilogue.scale[row] : 1.0f)), shift(v_set(epilogue.shift ? epilogue.shift[row] : 0.0f)), low(v_set(epilogue.low)), high(v_set(epilogue.high)),
        clamp(epilogue.activation == Activation::clamp) {}

  // y[i] for i below n, of one vector at most.
  void store(vec acc, const float* residual, int n, float* y) const {
    vec v = v_fma(acc, scale, shift);
    if (residual) v = v_add(v, n < kLanes ? v_load_part(residual, n) : v_load(residual));
    if (clamp) v = v_min(high, v_max(low, v));
    n < kLanes ? v_store_part(y, v, n) : v_store(y, v);
  }
};

void panel_finish(const Epilogue& epilogue, size_t row, const float* acc, const float* residual, int width, float* y) {
  if (epilogue.activation == Activation::leaky) {
    for (int j = 0; j < width; ++j) y[j] = finish(epilogue, row, acc[j], residual ? residual[j] : 0.0f);
    return;
  }
  const Finish finished(epilogue, row);
  for (int j = 0; j < width; j += kLanes) finished.store(v_load(acc + j), residual ? residual + j : nullptr, width - j, y + j);
}

// Three columns of a line of the image for kLanes outputs; they lie side by side.
template <int kStride>
struct Columns {
  vec at[3];

  explicit Columns(const float* x) {
    if (kStride == 1) {
      for (int kx = 0; kx < 3; ++kx) at[kx] = v_load(x + kx);
    } else {
      vec odd;
      v_split(v_load(x), v_load(x + kLanes), at[0], at[1]);
      v_split(v_load(x + 2), v_load(x + 2 + kLanes), at[2], odd);
    }
  }
};

// kOut output rows from row i on; what they read together is loaded once.
template <int kStride, int kOut, class Store>
inline void depthwise_lines(const Depthwise& shape, const float* image, size_t line, const float* weight, size_t i, const Store& store) {
  vec w[9];
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) w[t] = v_set(weight[t]);
  for (size_t j = 0; j < shape.cols; j += kLanes) {
    vec sum[kOut];
#pragma GCC unroll 4
    for (int k = 0; k < kOut; ++k) sum[k] = v_zero();
#pragma GCC unroll 9
    for (int r = 0; r < kStride * (kOut - 1) + 3; ++r) {
      const Columns<kStride> x(image + size_t(r) * line + kStride * j);
#pragma GCC unroll 4
      for (int k = 0; k < kOut; ++k) {
        const int ky = r - kStride * k;
        if (ky < 0 || ky > 2) continue;
#pragma GCC unroll 3
        for (int kx = 0; kx < 3; ++kx) sum[k] = v_fma(w[3 * ky + kx], x.at[kx], sum[k]);
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < kOut; ++k) store((i + size_t(k)) * shape.cols + j, sum[k], int(shape.cols - j));
  }
}

// 3x3 taps side by side, the same stride both ways.
template <int kStride, class Store>
inline void depthwise_3x3(const Depthwise& shape, const float* image, const float* weight, const Store& store) {
  constexpr int kOut = 4;
  const size_t line = shape.tap[3];
  size_t i = 0;
  for (; i + kOut <= shape.rows; i += kOut) depthwise_lines<kStride, kOut>(shape, image + i * shape.step, line, weight, i, store);
  for (; i < shape.rows; ++i) depthwise_lines<kStride, 1>(shape, image + i * shape.step, line, weight, i, store);
}

inline bool is_3x3(const Depthwise& shape) {
  bool close = shape.taps == 9 && (shape.stride == 1 || shape.stride == 2) && shape.tap[0] == 0 && shape.step == shape.stride * shape.tap[3];
  for (size_t t = 0; close && t < 9; ++t) close = shape.tap[t] == t / 3 * shape.tap[3] + t % 3;
  return close;
}

template <class Store>
inline void depthwise_any(const Depthwise& shape, const float* image, const float* weight, const Store& store) {
  for (size_t i = 0; i < shape.rows; ++i, image += shape.step) {
    for (size_t j = 0; j < shape.cols; j += kLanes) {
      const size_t n = shape.cols - j < size_t(kLanes) ? shape.cols - j : kLanes;
      vec sum = v_zero();
      for (int t = 0; t < shape.taps; ++t) {
        const float* x = image + shape.tap[t] + shape.stride * j;
        float lane[kLanes] = {};
        for (size_t k = 0; shape.stride > 1 && k < n; ++k) lane[k] = x[k * shape.stride];
        sum = v_fma(v_set(weight[t]), v_load(shape.stride > 1 ? lane : x), sum);
      }
      store(i * shape.cols + j, sum, int(shape.cols - j));
    }
  }
}

void panel_depthwise(const Depthwise& shape, const float* image, const float* weight, const Epilogue& epilogue, size_t channel, const float* residual, float* y) {
  const auto run = [&](const auto& store) {
    if (!is_3x3(shape)) return depthwise_any(shape, image, weight, store);
    shape.stride == 1 ? depthwise_3x3<1>(shape, image, weight, store) : depthwise_3x3<2>(shape, image, weight, store);
  };
  if (epilogue.activation == Activation::leaky) {
    return run([&](size_t at, vec acc, int n) {
      float lane[kLanes];
      v_store(lane, acc);
      for (int k = 0; k < (n < kLanes ? n : kLanes); ++k) y[at + size_t(k)] = finish(epilogue, channel, lane[k], residual ? residual[at + size_t(k)] : 0.0f);
    });
  }
  const Finish finished(epilogue, channel);
  run([&](size_t at, vec acc, int n) { finished.store(acc, residual ? residual + at : nullptr, n, y + at); });
}

inline float sum_of(vec v) {
  float lane[kLanes], sum = 0;
  v_store(lane, v);
  for (int i = 0; i < kLanes; ++i) sum += lane[i];
  return sum;
}

// Rows at a time, so that x is loaded once for all of them.
template <int kRows>
inline void dot_rows(const float* weight, size_t cols, const float* x, float* sums) {
  vec sum[kRows], more[kRows];
  for (int i = 0; i < kRows; ++i) sum[i] = more[i] = v_zero();
  size_t c = 0;
  for (; c + 2 * kLanes <= cols; c += 2 * kLanes) {
    const vec a = v_load(x + c), b = v_load(x + c + kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      sum[i] = v_fma(v_load(weight + size_t(i) * cols + c), a, sum[i]);
      more[i] = v_fma(v_load(weight + size_t(i) * cols + c + kLanes), b, more[i]);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    float rest = 0;
    for (size_t k = c; k < cols; ++k) rest += weight[size_t(i) * cols + k] * x[k];
    sums[i] = sum_of(v_add(sum[i], more[i])) + rest;
  }
}

void panel_gather(const float* image, const uint32_t* tap, size_t depth, const PanelSegment* segment, size_t segments, float* panel) {
  for (size_t k = 0; k < depth; ++k, panel += kPanel) {
    const float* from = image + tap[k];
    for (const PanelSegment* s = segment; s < segment + segments; ++s) {
      const float* x = from + s->from;
      float* to = panel + s->to;
      for (uint32_t done = 0; done < s->count; done += kLanes) v_store(to + done, v_load(x + done));
    }
  }
}

void panel_spread(const float* x, size_t rows, size_t cols, float* to, size_t step) {
  for (size_t i = 0; i < rows; ++i, x += cols, to += step) {
    size_t j = 0;
    for (; j + kLanes <= cols; j += kLanes) v_store(to + j, v_load(x + j));
    if (j < cols) v_store_part(to + j, v_load_part(x + j, int(cols - j)), int(cols - j));
  }
}

// kLanes rows of kLanes: number the places by the bits of row and column, one behind the other; zipping row i with row
// i + kLanes / 2 moves those bits round by one, and half of all rounds makes rows of columns.
inline void turn_block(const float* x, int rows, int cols, size_t step, float* to, size_t to_step) {
  vec row[kLanes], zipped[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) row[i] = i >= rows ? v_zero() : cols < kLanes ? v_load_part(x + size_t(i) * step, cols) : v_load(x + size_t(i) * step);
#pragma GCC unroll 4
  for (int round = 1; round < kLanes; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) v_zip(row[i], row[i + kLanes / 2], zipped[2 * i], zipped[2 * i + 1]);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) row[i] = zipped[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i >= cols) break;
    rows < kLanes ? v_store_part(to + size_t(i) * to_step, row[i], rows) : v_store(to + size_t(i) * to_step, row[i]);
  }
}

void panel_turn(const float* x, size_t rows, size_t cols, size_t step, float* to, size_t to_step) {
  for (size_t j = 0; j < cols; j += kLanes) {
    const int now = int(cols - j < size_t(kLanes) ? cols - j : kLanes);
    for (size_t i = 0; i < rows; i += kLanes) {
      const int here = int(rows - i < size_t(kLanes) ? rows - i : kLanes);
      turn_block(x + i * step + j, here, now, step, to + j * to_step + i, to_step);
    }
  }
}

void panel_split(const float* x, size_t n, float* even, float* odd) {
  vec e, o;
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    v_split(v_load(x + i), v_load(x + i + kLanes), e, o);
    v_store(even + i / 2, e);
    v_store(odd + i / 2, o);
  }
  const int rest = int(n - i);
  if (rest == 0) return;
  const vec a = rest < kLanes ? v_load_part(x + i, rest) : v_load(x + i);
  v_split(a, rest > kLanes ? v_load_part(x + i + kLanes, rest - kLanes) : v_zero(), e, o);
  v_store_part(even + i / 2, e, (rest + 1) / 2);
  v_store_part(odd + i / 2, o, rest / 2);
}

void panel_largest(const float* const* from, int count, size_t n, float* into) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    vec most = v_load(from[0] + i);
    for (int k = 1; k < count; ++k) most = v_larger(most, v_load(from[k] + i));
    v_store(into + i, most);
  }
  const int rest = int(n - i);
  if (rest == 0) return;
  vec most = v_load_part(from[0] + i, rest);
  for (int k = 1; k < count; ++k) most = v_larger(most, v_load_part(from[k] + i, rest));
  v_store_part(into + i, most, rest);
}

void panel_vector(const float* weight, size_t rows, size_t cols, const float* x, float* sums) {
  size_t r = 0;
  for (; r + 4 <= rows; r += 4) dot_rows<4>(weight + r * cols, cols, x, sums + r);
  for (; r < rows; ++r) dot_rows<1>(weight + r * cols, cols, x, sums + r);
}

}  // namespace
}  // namespace tersenet
