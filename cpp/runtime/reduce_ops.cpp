// One number for all those along some axes.
#include "rules.h"

namespace tersenet {
namespace {

// Which axes go: those of `dim`, or all where it is absent or empty.
std::vector<bool> reduced(const Node& node, int ndim) {
  const std::vector<int64_t>& dims = node.ints("dim");
  std::vector<bool> goes(size_t(ndim), dims.empty());
  for (int64_t dim : dims) {
    const size_t axis = size_t(axis_of(dim, ndim));
    if (ndim == 0) continue;
    need(node, !goes[axis], "an axis is named twice");
    goes[axis] = true;
  }
  return goes;
}

std::vector<Spec> infer_reduce(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  const Dims& shape = inputs[0]->shape;
  const std::vector<bool> goes = reduced(node, shape.ndim);
  Spec out;
  uint64_t count = 1;
  for (int i = 0; i < shape.ndim; ++i) {
    if (goes[size_t(i)]) count *= shape.size[i];
    if (!goes[size_t(i)] || node.flag("keepdim")) out.shape.push(goes[size_t(i)] ? 1 : shape.size[i]);
  }
  need(node, node.op->name != "amax" || count > 0, "the largest of no values");
  return {out};
}

enum class Reduction { mean, sum, amax };

template <Reduction kind>
void run_reduce(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Dims& shape = inputs[0]->spec.shape;
  const std::vector<bool> goes = reduced(node, shape.ndim);
  // Axes that stay, then axes that go, each with its stride.
  std::vector<std::pair<uint64_t, uint64_t>> stay, go;
  uint64_t stride = 1, count = 1;
  for (int i = shape.ndim - 1; i >= 0; --i) {
    (goes[size_t(i)] ? go : stay).insert((goes[size_t(i)] ? go : stay).begin(), {shape.size[i], stride});
    if (goes[size_t(i)]) count *= shape.size[i];
    stride *= shape.size[i];
  }
  const auto offset_of = [](const std::vector<std::pair<uint64_t, uint64_t>>& axes, uint64_t index) {
    uint64_t offset = 0;
    for (size_t k = axes.size(); k-- > 0;) {
      offset += index % axes[k].first * axes[k].second;
      index /= axes[k].first;
    }
    return offset;
  };
  const uint64_t run = go.empty() ? 1 : go.back().first, step = go.empty() ? 0 : go.back().second;
  const uint64_t total = numel(outputs[0]->spec);
  for (uint64_t i = 0; i < total; ++i) {
    const float* from = inputs[0]->f32() + (count ? offset_of(stay, i) : 0);
    double sum = 0;
    float most = -std::numeric_limits<float>::infinity();
    for (uint64_t j = 0; j < count; j += run) {
      const float* x = from + offset_of(go, j);
      for (uint64_t k = 0; k < run; ++k) {
        const float value = x[k * step];
        if (kind == Reduction::amax) most = value > most || value != value ? value : most; else sum += value;
      }
    }
    outputs[0]->f32()[i] = kind == Reduction::amax ? most : float(kind == Reduction::mean ? sum / double(count) : sum);
  }
}

}  // namespace

void add_reduce_rules(Rules& rules) {
  const Rules ours = {
      {63, false, infer_reduce, run_reduce<Reduction::mean>},
      {64, false, infer_reduce, run_reduce<Reduction::sum>},
      {65, false, infer_reduce, run_reduce<Reduction::amax>},
  };
  rules.insert(rules.end(), ours.begin(), ours.end());
}

}  // namespace tersenet
