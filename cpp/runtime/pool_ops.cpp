// Pooling over the last one to three axes; tensors of 1-D and 2-D pools are seen as having axes of size 1 in front.
#include <array>

#include "panel_matrix.h"
#include "rules.h"

namespace tersenet {
namespace {

constexpr int kAxes = 3;
using Sizes = std::array<int64_t, kAxes>;

struct PoolShape {
  Sizes in, out, kernel, stride, before, dilation;
  uint64_t planes;
};

Sizes padded(const std::vector<int64_t>& sizes, int64_t fill) {
  Sizes found;
  found.fill(fill);
  std::copy(sizes.begin(), sizes.end(), found.end() - long(sizes.size()));
  return found;
}

// `axes` trailing sizes of the shape, and the product of the others.
PoolShape frame(const Node& node, const Dims& shape, int axes) {
  need(node, shape.ndim == axes + 1 || shape.ndim == axes + 2, "takes tensors of " + str(unsigned(axes) + 1) + " or " + str(unsigned(axes) + 2) + " dimensions");
  PoolShape pool{};
  pool.in.fill(1);
  for (int i = 0; i < axes; ++i) {
    const uint64_t size = shape.size[shape.ndim - axes + i];
    need(node, size >= 1 && size < uint64_t(1) << 31, "an image without pixels");
    pool.in[size_t(kAxes - axes + i)] = int64_t(size);
  }
  pool.planes = span(shape, 0, shape.ndim - axes);
  return pool;
}

// As PyTorch: with ceil_mode the last window may begin in the padding after the image's end, but not behind it.
int64_t pooled(int64_t in, int64_t pad, int64_t kernel, int64_t stride, int64_t dilation, bool ceil) {
  const int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1;
  if (room < 0 && !ceil) return 0;
  int64_t out = (room + (ceil ? stride - 1 : 0)) / stride + 1;
  if (ceil && (out - 1) * stride >= in + pad) --out;
  return room + (ceil ? stride - 1 : 0) < 0 ? 0 : out;
}

PoolShape window_shape(const Node& node, const Dims& shape, int axes, bool dilated) {
  PoolShape pool = frame(node, shape, axes);
  const size_t count = size_t(axes);
  const std::vector<int64_t> kernel = spread(node, "kernel_size", count);
  pool.kernel = padded(kernel, 1);
  pool.stride = padded(spread(node, "stride", count, kernel), 1);
  pool.before = padded(spread(node, "padding", count), 0);
  pool.dilation = padded(dilated ? spread(node, "dilation", count) : std::vector<int64_t>(count, 1), 1);
  for (int i = 0; i < kAxes; ++i) {
    const size_t k = size_t(i);
    need(node, pool.kernel[k] >= 1 && pool.stride[k] >= 1 && pool.dilation[k] >= 1, "kernel, stride and dilation are at least 1");
    need(node, pool.before[k] <= pool.kernel[k] / 2, "padding is at most half the kernel");
    need(node, pool.dilation[k] * (pool.kernel[k] - 1) < int64_t(1) << 24, "a window that large");
    pool.out[k] = pooled(pool.in[k], pool.before[k], pool.kernel[k], pool.stride[k], pool.dilation[k], node.flag("ceil_mode"));
    need(node, pool.out[k] >= 1, "a window larger than its image");
  }
  return pool;
}

std::vector<Spec> with_out(const Specs& inputs, const PoolShape& pool, int axes) {
  Spec out{Dtype::kFloat32, inputs[0]->shape};
  for (int i = 0; i < axes; ++i) out.shape.size[out.shape.ndim - axes + i] = uint64_t(pool.out[size_t(kAxes - axes + i)]);
  return {out};
}

template <int kCount, bool kDilated>
std::vector<Spec> infer_window(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  return with_out(inputs, window_shape(node, inputs[0]->shape, kCount, kDilated), kCount);
}

int64_t plane_size(const Sizes& sizes) { return sizes[0] * sizes[1] * sizes[2]; }

constexpr int64_t kRowsTogether = 8;  // what was just written is not to be read in other pieces at once

// Buffers of one thread, for some rows of the output: window maxima with -inf for the padding on both sides, their
// halves, and what is compared.
struct MaxBuffers {
  size_t span, half;  // floats in a row with its padding
  std::vector<float> rows, even, odd;
  std::vector<const float*> from;

  explicit MaxBuffers(const PoolShape& p) {
    const int64_t reach = (p.out[2] - 1) * p.stride[2] + p.dilation[2] * (p.kernel[2] - 1) + 1;
    span = size_t(std::max(reach, p.before[2] + p.in[2]));
    half = span / 2 + 1;
    const size_t together = size_t(std::min(kRowsTogether, p.out[1]));
    rows.assign(together * span, -std::numeric_limits<float>::infinity());
    even.resize(together * half);
    odd.resize(together * half);
  }
};

// The largest of the rows of a window first, then along the row, so that all work runs along the image.
void max_rows(const PoolShape& p, const PanelKernels& kernels, const float* x, int64_t first, int64_t count, float* y, MaxBuffers& buffers) {
  std::vector<const float*>& from = buffers.from;
  for (int64_t k = 0; k < count; ++k) {
    from.clear();
    for (int64_t ky = 0; ky < p.kernel[1]; ++ky) {
      const int64_t iy = (first + k) * p.stride[1] - p.before[1] + ky * p.dilation[1];
      if (iy >= 0 && iy < p.in[1]) from.push_back(x + iy * p.in[2]);
    }
    float* const inside = buffers.rows.data() + size_t(k) * buffers.span + p.before[2];
    if (from.empty()) std::fill(inside, inside + p.in[2], -std::numeric_limits<float>::infinity());
    else kernels.largest(from.data(), int(from.size()), size_t(p.in[2]), inside);
  }
  for (int64_t k = 0; p.stride[2] == 2 && k < count; ++k) {
    kernels.split(buffers.rows.data() + size_t(k) * buffers.span, buffers.span, buffers.even.data() + size_t(k) * buffers.half, buffers.odd.data() + size_t(k) * buffers.half);
  }
  for (int64_t k = 0; k < count; ++k, y += p.out[2]) {
    from.clear();
    for (int64_t kx = 0; kx < p.kernel[2]; ++kx) {
      const int64_t shift = kx * p.dilation[2];
      const std::vector<float>& halves = shift % 2 ? buffers.odd : buffers.even;
      from.push_back(p.stride[2] == 2 ? halves.data() + size_t(k) * buffers.half + shift / 2 : buffers.rows.data() + size_t(k) * buffers.span + shift);
    }
    if (p.stride[2] <= 2) {
      kernels.largest(from.data(), int(from.size()), size_t(p.out[2]), y);
      continue;
    }
    for (int64_t ox = 0; ox < p.out[2]; ++ox) {
      kernels.largest(from.data(), int(from.size()), 1, y + ox);
      for (const float*& one : from) one += p.stride[2];
    }
  }
}

void max_plane(const PoolShape& p, const PanelKernels& kernels, const float* x, float* y, MaxBuffers& buffers) {
  for (int64_t oy = 0; oy < p.out[1]; oy += kRowsTogether) max_rows(p, kernels, x, oy, std::min(kRowsTogether, p.out[1] - oy), y + oy * p.out[2], buffers);
}

template <int kCount>
void run_max(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const PoolShape p = window_shape(node, inputs[0]->spec.shape, kCount, true);
  const PanelKernels kernels = panel_kernels(cpu_chosen());
  const uint64_t piece = std::max<uint64_t>(1, 32768 / uint64_t(plane_size(p.in)));
  in_pieces(pool, p.planes, piece, [&](uint64_t from, uint64_t to) {
    MaxBuffers buffers(p);
    for (uint64_t i = from; i < to; ++i) max_plane(p, kernels, inputs[0]->f32() + i * uint64_t(plane_size(p.in)), outputs[0]->f32() + i * uint64_t(plane_size(p.out)), buffers);
  });
}

double sum_of_row(const float* x, int64_t count) {
  constexpr int64_t kSums = 8;  // that do not wait for each other
  double sums[kSums] = {}, sum = 0;
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int64_t k = 0; k < kSums; ++k) sums[k] += double(x[i + k]);
  }
  for (; i < count; ++i) sum += double(x[i]);
  for (double one : sums) sum += one;
  return sum;
}

double sum_of(const Sizes& in, const float* x, const Sizes& from, const Sizes& to) {
  if (from == Sizes{} && to == in) return sum_of_row(x, plane_size(in));
  double sum = 0;
  for (int64_t a = from[0]; a < to[0]; ++a) {
    for (int64_t b = from[1]; b < to[1]; ++b) {
      sum += sum_of_row(x + (a * in[1] + b) * in[2] + from[2], to[2] - from[2]);
    }
  }
  return sum;
}

// body(output place along each axis)
template <class Body>
void for_each_out(const Sizes& out, const Body& body) {
  for (int64_t a = 0; a < out[0]; ++a) {
    for (int64_t b = 0; b < out[1]; ++b) {
      for (int64_t c = 0; c < out[2]; ++c) body(Sizes{a, b, c});
    }
  }
}

// Windows along the first axis alone, as local response normalisation has over channels: all of a plane at once.
bool along_first(const PoolShape& p) {
  bool alone = true;
  for (size_t k = 1; k < kAxes; ++k) alone = alone && p.kernel[k] == 1 && p.stride[k] == 1 && p.before[k] == 0 && p.in[k] == p.out[k];
  return alone && p.in[0] > 1;
}

template <class Divisor>
void average_along_first(const PoolShape& p, const float* x, float* y, const Divisor& divisor) {
  constexpr int64_t kPart = 256, kFew = 16;
  const int64_t plane = plane_size(p.in) / p.in[0];
  for (int64_t out = 0; out < p.out[0]; ++out) {
    const int64_t start = out * p.stride[0] - p.before[0], end = std::min(start + p.kernel[0], p.in[0] + p.before[0]);
    const int64_t from = std::max<int64_t>(start, 0), to = std::min(end, p.in[0]);
    const double by = divisor(end - start, std::max<int64_t>(to - from, 0));
    for (int64_t first = 0; first < plane; first += kPart) {
      const int64_t count = std::min(kPart, plane - first);
      if (to - from <= kFew) {
        float sum[kPart] = {};
        for (int64_t k = from; k < to; ++k) {
          for (int64_t i = 0; i < count; ++i) sum[i] += x[k * plane + first + i];
        }
        for (int64_t i = 0; i < count; ++i) *y++ = sum[i] / float(by);
        continue;
      }
      double sum[kPart] = {};
      for (int64_t k = from; k < to; ++k) {
        for (int64_t i = 0; i < count; ++i) sum[i] += double(x[k * plane + first + i]);
      }
      for (int64_t i = 0; i < count; ++i) *y++ = float(sum[i] / by);
    }
  }
}

template <int kCount>
void run_average(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const PoolShape p = window_shape(node, inputs[0]->spec.shape, kCount, false);
  const bool with_pad = node.flag("count_include_pad");
  const bool given = kCount > 1 && node.has("divisor_override");
  const double divisor = given ? double(node.integer("divisor_override")) : 0;
  in_pieces(pool, p.planes, std::max<uint64_t>(1, 32768 / uint64_t(plane_size(p.in))), [&](uint64_t first, uint64_t last) {
    for (uint64_t i = first; i < last; ++i) {
      const float* x = inputs[0]->f32() + i * uint64_t(plane_size(p.in));
      float* y = outputs[0]->f32() + i * uint64_t(plane_size(p.out));
      if (along_first(p)) {
        average_along_first(p, x, y, [&](int64_t whole, int64_t inside) { return given ? divisor : double(with_pad ? whole : inside); });
        continue;
      }
      for_each_out(p.out, [&](const Sizes& at) {
        Sizes from, to;
        int64_t inside = 1, whole = 1;
        for (size_t k = 0; k < kAxes; ++k) {
          const int64_t start = at[k] * p.stride[k] - p.before[k], end = std::min(start + p.kernel[k], p.in[k] + p.before[k]);
          from[k] = std::max<int64_t>(start, 0);
          to[k] = std::min(end, p.in[k]);
          whole *= end - start;
          inside *= std::max<int64_t>(to[k] - from[k], 0);
        }
        *y++ = float(sum_of(p.in, x, from, to) / (given ? divisor : double(with_pad ? whole : inside)));
      });
    }
  });
}

std::vector<Spec> infer_divided(const Node& node, const Specs& inputs, uint64_t batch) {
  need(node, !node.has("divisor_override") || node.integer("divisor_override") != 0, "a divisor of 0");
  return node.op->name == "avg_pool3d" ? infer_window<3, false>(node, inputs, batch) : infer_window<2, false>(node, inputs, batch);
}

PoolShape adaptive_shape(const Node& node, const Dims& shape, int axes) {
  PoolShape pool = frame(node, shape, axes);
  pool.out = padded(spread(node, "output_size", size_t(axes)), 1);
  for (int64_t out : pool.out) need(node, out >= 1, "an output without pixels");
  return pool;
}

template <int kCount>
std::vector<Spec> infer_adaptive(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  return with_out(inputs, adaptive_shape(node, inputs[0]->shape, kCount), kCount);
}

std::vector<Spec> infer_adaptive_max(const Node& node, const Specs& inputs, uint64_t batch) {
  std::vector<Spec> outputs = infer_adaptive<2>(node, inputs, batch);
  outputs.push_back({Dtype::kInt64, outputs[0].shape});
  return outputs;
}

void bounds(const PoolShape& p, const Sizes& at, Sizes& from, Sizes& to) {
  for (size_t k = 0; k < kAxes; ++k) {
    from[k] = at[k] * p.in[k] / p.out[k];
    to[k] = ((at[k] + 1) * p.in[k] + p.out[k] - 1) / p.out[k];
  }
}

template <int kCount>
void run_adaptive(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const PoolShape p = adaptive_shape(node, inputs[0]->spec.shape, kCount);
  in_pieces(pool, p.planes, std::max<uint64_t>(1, 65536 / uint64_t(plane_size(p.in))), [&](uint64_t first, uint64_t last) {
    for (uint64_t i = first; i < last; ++i) {
      const float* x = inputs[0]->f32() + i * uint64_t(plane_size(p.in));
      float* y = outputs[0]->f32() + i * uint64_t(plane_size(p.out));
      for_each_out(p.out, [&](const Sizes& at) {
        Sizes from, to;
        bounds(p, at, from, to);
        const double count = double((to[0] - from[0]) * (to[1] - from[1]) * (to[2] - from[2]));
        *y++ = float(sum_of(p.in, x, from, to) / count);
      });
    }
  });
}

void adaptive_max(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const PoolShape p = adaptive_shape(node, inputs[0]->spec.shape, 2);
  float* y = outputs[0]->f32();
  int64_t* where = outputs[1]->i64();
  for (uint64_t i = 0; i < p.planes; ++i) {
    const float* x = inputs[0]->f32() + i * uint64_t(plane_size(p.in));
    for_each_out(p.out, [&](const Sizes& at) {
      Sizes from, to;
      bounds(p, at, from, to);
      int64_t best = from[1] * p.in[2] + from[2];
      for (int64_t b = from[1]; b < to[1]; ++b) {
        for (int64_t c = from[2]; c < to[2]; ++c) {
          const float value = x[b * p.in[2] + c];
          if (value > x[best] || value != value) best = b * p.in[2] + c;
        }
      }
      *y++ = x[best];
      *where++ = best;
    });
  }
}

}  // namespace

void add_pool_rules(Rules& rules) {
  const Rules ours = {
      {30, false, infer_window<1, true>, run_max<1>},      {31, false, infer_window<2, true>, run_max<2>},
      {32, false, infer_window<1, false>, run_average<1>}, {33, false, infer_divided, run_average<2>},
      {34, false, infer_divided, run_average<3>},          {35, false, infer_adaptive<1>, run_adaptive<1>},
      {36, false, infer_adaptive<2>, run_adaptive<2>},     {37, false, infer_adaptive_max, adaptive_max},
  };
  rules.insert(rules.end(), ours.begin(), ours.end());
}

}  // namespace tersenet
