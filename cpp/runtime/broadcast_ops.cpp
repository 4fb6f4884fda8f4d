// Two or three tensors, whose sizes of 1 are repeated to fit the others.
#include <cmath>

#include "rules.h"

namespace tersenet {
namespace {

Dims joined(const Node& node, const Dims& a, const Dims& b) {
  Dims out;
  out.ndim = std::max(a.ndim, b.ndim);
  for (int i = 0; i < out.ndim; ++i) {
    const int of_a = i - (out.ndim - a.ndim), of_b = i - (out.ndim - b.ndim);
    const uint64_t x = of_a < 0 ? 1 : a.size[of_a], y = of_b < 0 ? 1 : b.size[of_b];
    need(node, x == y || x == 1 || y == 1, "sizes " + str(x) + " and " + str(y) + " do not fit together");
    out.size[i] = x == 1 ? y : x;
  }
  return out;
}

// How far each axis of `out` moves in a tensor of `shape`; 0 where it is repeated.
void strides_of(const Dims& shape, const Dims& out, uint64_t* stride) {
  uint64_t step = 1;
  for (int i = out.ndim - 1; i >= 0; --i) {
    const int at = i - (out.ndim - shape.ndim);
    stride[i] = at < 0 || shape.size[at] == 1 ? 0 : step;
    if (at >= 0) step *= shape.size[at];
  }
}

constexpr int kMostInputs = 3;

// row(y, a, a_step, b, b_step, c, c_step, n) for each run along the last axis; offsets in elements.
template <class Row>
void walk(const Dims& out, const Tensors& inputs, const Row& row) {
  uint64_t stride[kMostInputs][kMaxDims] = {}, at[kMaxDims] = {}, offset[kMostInputs] = {};
  const int count = int(inputs.size());
  for (int k = 0; k < count; ++k) strides_of(inputs[size_t(k)]->spec.shape, out, stride[k]);
  // Leading axes that move alike in all tensors are walked as one with the last.
  int last = out.ndim - 1;
  uint64_t n = last >= 0 ? out.size[last] : 1;
  const int inner = last;
  const auto joins = [&](int axis) {
    for (int k = 0; k < count; ++k) {
      if (stride[k][axis] != stride[k][inner] * n) return false;
    }
    return true;
  };
  while (last > 0 && joins(last - 1)) n *= out.size[--last];
  const uint64_t total = checked_numel(out);
  for (uint64_t done = 0; done < total; done += n) {
    row(done, offset, inner >= 0 ? stride[0][inner] : 0, inner >= 0 ? stride[1][inner] : 0, inner >= 0 ? stride[2][inner] : 0, n);
    for (int axis = last - 1; axis >= 0; --axis) {
      for (int k = 0; k < count; ++k) offset[k] += stride[k][axis];
      if (++at[axis] < out.size[axis]) break;
      for (int k = 0; k < count; ++k) offset[k] -= stride[k][axis] * out.size[axis];
      at[axis] = 0;
    }
  }
}

template <class T, class F>
void combine(const Tensors& inputs, T* y, const Dims& out, const T* a, const T* b, const F& f) {
  walk(out, inputs, [&](uint64_t done, const uint64_t* offset, uint64_t a_step, uint64_t b_step, uint64_t, uint64_t n) {
    const T *x = a + offset[0], *z = b + offset[1];
    T* to = y + done;
    if (a_step == 1 && b_step == 1) {
      for (uint64_t i = 0; i < n; ++i) to[i] = f(x[i], z[i]);
    } else if (b_step == 0) {
      for (uint64_t i = 0; i < n; ++i) to[i] = f(x[i * a_step], z[0]);
    } else {
      for (uint64_t i = 0; i < n; ++i) to[i] = f(x[i * a_step], z[i * b_step]);
    }
  });
}

enum class Pair { add, sub, mul, div, maximum, minimum };

std::vector<Spec> infer_pair(const Node& node, const Specs& inputs, uint64_t) {
  const Dtype dtype = inputs[0]->dtype;
  need(node, dtype == inputs[1]->dtype, "tensors of two dtypes are not served");
  const bool scaled = node.op->name == "add" || node.op->name == "sub";
  const bool whole = node.op->name != "div" && (!scaled || !node.get("alpha").is_float);
  need(node, dtype == Dtype::kFloat32 || (dtype == Dtype::kInt64 && whole), "takes floats, or integers but for a division");
  return {{dtype, joined(node, inputs[0]->shape, inputs[1]->shape)}};
}

template <Pair kind>
void run_pair(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  constexpr bool scaled = kind == Pair::add || kind == Pair::sub;
  const Dims& out = outputs[0]->spec.shape;
  if (inputs[0]->spec.dtype == Dtype::kInt64) {
    const uint64_t alpha = scaled ? uint64_t(node.integer("alpha")) : 1;
    combine(inputs, reinterpret_cast<uint64_t*>(outputs[0]->i64()), out, reinterpret_cast<const uint64_t*>(inputs[0]->i64()),
            reinterpret_cast<const uint64_t*>(inputs[1]->i64()), [=](uint64_t a, uint64_t b) {
              if (kind == Pair::add) return a + alpha * b;
              if (kind == Pair::sub) return a - alpha * b;
              if (kind == Pair::mul) return a * b;
              return (kind == Pair::maximum) == (int64_t(a) > int64_t(b)) ? a : b;
            });
    return;
  }
  float* y = outputs[0]->f32();
  const float *a = inputs[0]->f32(), *b = inputs[1]->f32();
  const float alpha = scaled ? float(node.number("alpha")) : 1;
  if (scaled && alpha != 1) {
    const float signed_alpha = kind == Pair::sub ? -alpha : alpha;
    return combine(inputs, y, out, a, b, [=](float p, float q) { return p + signed_alpha * q; });
  }
  if (kind == Pair::add) combine(inputs, y, out, a, b, [](float p, float q) { return p + q; });
  if (kind == Pair::sub) combine(inputs, y, out, a, b, [](float p, float q) { return p - q; });
  if (kind == Pair::mul) combine(inputs, y, out, a, b, [](float p, float q) { return p * q; });
  if (kind == Pair::div) combine(inputs, y, out, a, b, [](float p, float q) { return p / q; });
  // A NaN on either side wins.
  if (kind == Pair::maximum) combine(inputs, y, out, a, b, [](float p, float q) { return p > q || p != p ? p : q; });
  if (kind == Pair::minimum) combine(inputs, y, out, a, b, [](float p, float q) { return p < q || p != p ? p : q; });
}

std::vector<Spec> infer_masked_fill(const Node& node, const Specs& inputs, uint64_t) {
  need(node, inputs[0]->dtype == Dtype::kFloat32 && inputs[1]->dtype == Dtype::kBool, "takes floats and a mask of truth values");
  return {{Dtype::kFloat32, joined(node, inputs[0]->shape, inputs[1]->shape)}};
}

void masked_fill(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const float value = float(node.number("value"));
  walk(outputs[0]->spec.shape, inputs, [&](uint64_t done, const uint64_t* offset, uint64_t x_step, uint64_t mask_step, uint64_t, uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) {
      outputs[0]->f32()[done + i] = inputs[1]->truth()[offset[1] + i * mask_step] ? value : inputs[0]->f32()[offset[0] + i * x_step];
    }
  });
}

std::vector<Spec> infer_where(const Node& node, const Specs& inputs, uint64_t) {
  need(node, inputs[0]->dtype == Dtype::kBool, "its condition holds truth values");
  need(node, inputs[1]->dtype == Dtype::kFloat32 && inputs[2]->dtype == Dtype::kFloat32, "takes floats to choose from");
  return {{Dtype::kFloat32, joined(node, joined(node, inputs[0]->shape, inputs[1]->shape), inputs[2]->shape)}};
}

void where(const Node&, const Tensors& inputs, const Outputs& outputs, Pool&) {
  walk(outputs[0]->spec.shape, inputs, [&](uint64_t done, const uint64_t* offset, uint64_t c_step, uint64_t a_step, uint64_t b_step, uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) {
      const bool first = inputs[0]->truth()[offset[0] + i * c_step] != 0;
      outputs[0]->f32()[done + i] = first ? inputs[1]->f32()[offset[1] + i * a_step] : inputs[2]->f32()[offset[2] + i * b_step];
    }
  });
}

}  // namespace

void add_broadcast_rules(Rules& rules) {
  const Rules ours = {
      {40, false, infer_pair, run_pair<Pair::add>},     {41, false, infer_pair, run_pair<Pair::sub>},
      {42, false, infer_pair, run_pair<Pair::mul>},     {43, false, infer_pair, run_pair<Pair::div>},
      {59, false, infer_pair, run_pair<Pair::maximum>}, {60, false, infer_pair, run_pair<Pair::minimum>},
      {66, false, infer_masked_fill, masked_fill},      {67, false, infer_where, where},
  };
  rules.insert(rules.end(), ours.begin(), ours.end());
}

}  // namespace tersenet
