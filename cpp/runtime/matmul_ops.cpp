// Products of two values, and attention. (Products with stored weights go through layer.h.)
#include <cmath>

#include "rules.h"

namespace tersenet {
namespace {

// c (m, n) = a (m, k) b (k, n). Rows of c are added to as a whole, which vectorises.
void multiply(const float* a, const float* b, float* c, uint64_t m, uint64_t k, uint64_t n) {
  std::fill(c, c + m * n, 0.0f);
  for (uint64_t i = 0; i < m; ++i) {
    float* row = c + i * n;
    uint64_t l = 0;
    for (; l + 4 <= k; l += 4) {
      const float *a4 = a + i * k + l, *b4 = b + l * n;
      for (uint64_t j = 0; j < n; ++j) row[j] += (a4[0] * b4[j] + a4[1] * b4[n + j]) + (a4[2] * b4[2 * n + j] + a4[3] * b4[3 * n + j]);
    }
    for (; l < k; ++l) {
      for (uint64_t j = 0; j < n; ++j) row[j] += a[i * k + l] * b[l * n + j];
    }
  }
}

// The leading axes of two shapes, repeated to fit each other; each one's matrices in order.
struct Stacks {
  Dims shape;
  std::vector<uint64_t> a, b;  // for each product: which matrix
};

Stacks pair_up(const Node& node, Dims a, Dims b) {
  a.ndim -= 2;
  b.ndim -= 2;
  Stacks found;
  found.shape.ndim = std::max(a.ndim, b.ndim);
  const int n = found.shape.ndim;
  for (int i = 0; i < n; ++i) {
    const uint64_t x = i < n - a.ndim ? 1 : a.size[i - (n - a.ndim)], y = i < n - b.ndim ? 1 : b.size[i - (n - b.ndim)];
    need(node, x == y || x == 1 || y == 1, "stacks of " + str(x) + " and " + str(y) + " matrices do not fit together");
    found.shape.size[i] = x == 1 ? y : x;
  }
  return found;
}

void number_stacks(Stacks& stacks, const Dims& a, const Dims& b) {
  const int n = stacks.shape.ndim;
  const uint64_t total = checked_numel(stacks.shape);
  const auto which = [&](const Dims& shape, uint64_t index) {
    uint64_t found = 0, step = 1;
    for (int i = n - 1; i >= 0; --i) {
      const int at = i - (n - (shape.ndim - 2));
      const uint64_t place = index % stacks.shape.size[i];
      index /= stacks.shape.size[i];
      if (at < 0) continue;
      if (shape.size[at] != 1) found += place * step;
      step *= shape.size[at];
    }
    return found;
  };
  for (uint64_t i = 0; i < total; ++i) {
    stacks.a.push_back(which(a, i));
    stacks.b.push_back(which(b, i));
  }
}

// A vector on the left is one row, on the right one column.
Dims as_matrix(const Dims& shape, bool left) {
  if (shape.ndim >= 2) return shape;
  Dims made;
  made.push(left ? 1 : shape.size[0]);
  made.push(left ? shape.size[0] : 1);
  return made;
}

std::vector<Spec> infer_matmul(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  need(node, inputs[0]->shape.ndim >= 1 && inputs[1]->shape.ndim >= 1, "takes vectors and matrices");
  const Dims a = as_matrix(inputs[0]->shape, true), b = as_matrix(inputs[1]->shape, false);
  need(node, a.size[a.ndim - 1] == b.size[b.ndim - 2], "the first's columns are not the second's rows");
  Spec out{Dtype::kFloat32, pair_up(node, a, b).shape};
  if (inputs[0]->shape.ndim >= 2) out.shape.push(a.size[a.ndim - 2]);
  if (inputs[1]->shape.ndim >= 2) out.shape.push(b.size[b.ndim - 1]);
  return {out};
}

void matmul(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const Dims a = as_matrix(inputs[0]->spec.shape, true), b = as_matrix(inputs[1]->spec.shape, false);
  Stacks stacks = pair_up(node, a, b);
  number_stacks(stacks, a, b);
  const uint64_t m = a.size[a.ndim - 2], k = a.size[a.ndim - 1], n = b.size[b.ndim - 1];
  pool.run(stacks.a.size(), [&](size_t i, int) {
    multiply(inputs[0]->f32() + stacks.a[i] * m * k, inputs[1]->f32() + stacks.b[i] * k * n, outputs[0]->f32() + i * m * n, m, k, n);
  });
}

// query (..., L, E), key (..., S, E), value (..., S, V); a mask is added, or says which to keep, over (..., L, S).
std::vector<Spec> infer_attention(const Node& node, const Specs& inputs, uint64_t) {
  const Dims &q = inputs[0]->shape, &k = inputs[1]->shape, &v = inputs[2]->shape;
  for (int i = 0; i < 3; ++i) need(node, inputs[size_t(i)]->dtype == Dtype::kFloat32, "takes floats");
  const int n = q.ndim;
  bool fits = n >= 2 && k.ndim == n && v.ndim == n && q.size[n - 1] == k.size[n - 1] && k.size[n - 2] == v.size[n - 2];
  const bool grouped = node.flag("enable_gqa");
  for (int i = 0; fits && i < n - 2; ++i) {
    const bool heads = grouped && i == n - 3;
    fits = k.size[i] == v.size[i] && (heads ? k.size[i] > 0 && q.size[i] % k.size[i] == 0 : q.size[i] == k.size[i]);
  }
  need(node, fits && (!grouped || n >= 3), "query, key and value do not fit together");
  if (inputs[3]) {
    const Dims& mask = inputs[3]->shape;
    need(node, inputs[3]->dtype != Dtype::kInt64 && mask.ndim <= n && !node.flag("is_causal"), "a mask of truth values or floats, and not a causal one beside it");
    for (int i = 0; i < mask.ndim; ++i) {
      const int axis = n - mask.ndim + i;
      const uint64_t wanted = axis == n - 1 ? k.size[n - 2] : q.size[axis];
      need(node, mask.size[i] == 1 || mask.size[i] == wanted, "its mask does not fit");
    }
  }
  Spec out{Dtype::kFloat32, q};
  out.shape.size[n - 1] = v.size[n - 1];
  return {out};
}

// softmax(q k^T scale + mask) v, one row of the query at a time.
void attention(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const Dims &q = inputs[0]->spec.shape, &k = inputs[1]->spec.shape, &v = inputs[2]->spec.shape;
  const int n = q.ndim;
  const uint64_t length = q.size[n - 2], width = q.size[n - 1], keys = k.size[n - 2], values = v.size[n - 1];
  const uint64_t stacks = span(q, 0, n - 2), heads = n >= 3 ? q.size[n - 3] : 1, key_heads = n >= 3 ? k.size[n - 3] : 1;
  const float scale = node.has("scale") ? float(node.number("scale")) : float(1 / std::sqrt(double(width)));
  const bool causal = node.flag("is_causal");
  uint64_t mask_stride[kMaxDims] = {};
  const Tensor* mask = inputs[3];
  if (mask) {
    uint64_t step = 1;
    for (int i = mask->spec.shape.ndim - 1; i >= 0; --i) {
      const uint64_t size = mask->spec.shape.size[i];
      mask_stride[n - mask->spec.shape.ndim + i] = size == 1 ? 0 : step;
      step *= size;
    }
  }
  pool.run(size_t(stacks), [&](size_t stack, int) {
    const uint64_t key_stack = n >= 3 ? stack / heads * key_heads + stack % heads / (heads / key_heads) : 0;
    const float* keys_of = inputs[1]->f32() + key_stack * keys * width;
    const float* values_of = inputs[2]->f32() + key_stack * keys * values;
    uint64_t mask_at = 0, rest = stack;
    for (int i = n - 3; i >= 0; --i) {
      mask_at += rest % q.size[i] * mask_stride[i];
      rest /= q.size[i];
    }
    std::vector<float> weight(size_t(keys), 0.0f);
    for (uint64_t l = 0; l < length; ++l) {
      const float* query = inputs[0]->f32() + (stack * length + l) * width;
      const uint64_t seen = causal ? std::min(keys, l + 1) : keys;
      float most = -std::numeric_limits<float>::infinity();
      for (uint64_t s = 0; s < seen; ++s) {
        float dot = 0;
        for (uint64_t e = 0; e < width; ++e) dot += query[e] * keys_of[s * width + e];
        dot *= scale;
        if (mask) {
          const uint64_t at = mask_at + l * mask_stride[n - 2] + s * mask_stride[n - 1];
          if (mask->spec.dtype == Dtype::kFloat32) dot += mask->f32()[at]; else if (!mask->truth()[at]) dot = -std::numeric_limits<float>::infinity();
        }
        weight[size_t(s)] = dot;
        most = dot > most || dot != dot ? dot : most;
      }
      double sum = 0;
      const bool none = most == -std::numeric_limits<float>::infinity();  // nothing to attend to: zeros
      for (uint64_t s = 0; s < seen; ++s) sum += weight[size_t(s)] = none ? 0.0f : std::exp(weight[size_t(s)] - most);
      float* out = outputs[0]->f32() + (stack * length + l) * values;
      std::fill(out, out + values, 0.0f);
      const float by = none ? 0.0f : float(1 / sum);
      for (uint64_t s = 0; s < seen; ++s) {
        const float w = weight[size_t(s)] * by;
        for (uint64_t j = 0; j < values; ++j) out[j] += w * values_of[s * values + j];
      }
    }
  });
}

}  // namespace

void add_matmul_rules(Rules& rules) {
  const Rules ours = {{61, false, infer_matmul, matmul}, {62, false, infer_attention, attention}};
  rules.insert(rules.end(), ours.begin(), ours.end());
}

}  // namespace tersenet
