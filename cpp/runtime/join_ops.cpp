// Tensors put together, made larger, or looked up.
#include "rules.h"

namespace tersenet {
namespace {

// Rows of `inner` bytes from each tensor in turn.
void interleave(const Tensors& inputs, const std::vector<uint64_t>& row_bytes, uint64_t outer, uint8_t* out) {
  for (uint64_t o = 0; o < outer; ++o) {
    for (size_t k = 0; k < inputs.size(); ++k) {
      const uint8_t* from = static_cast<const uint8_t*>(inputs[k]->data) + o * row_bytes[k];
      if (row_bytes[k]) std::memcpy(out, from, size_t(row_bytes[k]));
      out += row_bytes[k];
    }
  }
}

std::vector<Spec> infer_cat(const Node& node, const Specs& inputs, uint64_t) {
  need(node, !inputs.empty(), "of no tensors");
  Spec out = *inputs[0];
  need(node, out.shape.ndim > 0, "of tensors without axes");
  const int axis = axis_of(node.integer("dim"), out.shape.ndim);
  for (size_t k = 1; k < inputs.size(); ++k) {
    const Dims& more = inputs[k]->shape;
    bool fits = inputs[k]->dtype == out.dtype && more.ndim == out.shape.ndim;
    for (int i = 0; fits && i < more.ndim; ++i) fits = i == axis || more.size[i] == out.shape.size[i];
    need(node, fits, "tensors that differ in dtype, or beside the axis");
    out.shape.size[axis] += more.size[axis];
    checked_numel(out.shape);
  }
  return {out};
}

void cat(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Dims& shape = outputs[0]->spec.shape;
  const int axis = axis_of(node.integer("dim"), shape.ndim);
  const uint64_t item = item_bytes(outputs[0]->spec.dtype);
  std::vector<uint64_t> row_bytes;
  for (const Tensor* input : inputs) row_bytes.push_back(span(input->spec.shape, axis, shape.ndim) * item);
  interleave(inputs, row_bytes, span(shape, 0, axis), static_cast<uint8_t*>(outputs[0]->data));
}

std::vector<Spec> infer_stack(const Node& node, const Specs& inputs, uint64_t) {
  need(node, !inputs.empty(), "of no tensors");
  const Dims& from = inputs[0]->shape;
  for (const Spec* input : inputs) need(node, input->shape == from && input->dtype == inputs[0]->dtype, "tensors that differ in shape or dtype");
  const int axis = axis_of(node.integer("dim"), from.ndim + 1);
  Spec out{inputs[0]->dtype, {}};
  for (int i = 0; i <= from.ndim; ++i) {
    if (i == axis) out.shape.push(inputs.size());
    if (i < from.ndim) out.shape.push(from.size[i]);
  }
  return {out};
}

void stack(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Dims& from = inputs[0]->spec.shape;
  const int axis = axis_of(node.integer("dim"), from.ndim + 1);
  const uint64_t row = span(from, axis, from.ndim) * item_bytes(outputs[0]->spec.dtype);
  interleave(inputs, std::vector<uint64_t>(inputs.size(), row), span(from, 0, axis), static_cast<uint8_t*>(outputs[0]->data));
}

// ---- pad

enum class Fill { constant, reflect, replicate, circular };

Fill fill_of(const Node& node) {
  const std::string& mode = node.get("mode").text;
  if (mode == "constant") return Fill::constant;
  if (mode == "reflect") return Fill::reflect;
  if (mode == "replicate") return Fill::replicate;
  need(node, mode == "circular", "mode '" + mode + "'; expected constant, reflect, replicate or circular");
  return Fill::circular;
}

// For each axis and each place along it in the output: the input's, or -1 for the constant.
std::vector<std::vector<int64_t>> places(const Node& node, const Dims& shape) {
  const std::vector<int64_t>& pad = node.ints("pad");
  const Fill fill = fill_of(node);
  need(node, pad.size() % 2 == 0 && pad.size() / 2 <= size_t(shape.ndim), "pad has " + str(pad.size()) + " entries for " + str(unsigned(shape.ndim)) + " axes");
  std::vector<std::vector<int64_t>> found(size_t(shape.ndim));
  for (int axis = 0; axis < shape.ndim; ++axis) {
    const int64_t size = int64_t(shape.size[axis]);
    const size_t pair = size_t(shape.ndim - 1 - axis);  // the last axis comes first
    const bool padded = pair < pad.size() / 2;
    const int64_t before = padded ? pad[2 * pair] : 0, after = padded ? pad[2 * pair + 1] : 0;
    need(node, before > -(int64_t(1) << 31) && before < int64_t(1) << 31 && after > -(int64_t(1) << 31) && after < int64_t(1) << 31, "a pad that large");
    const int64_t out = size + before + after;
    need(node, out >= 0 && out < int64_t(1) << 31, "takes more than there is, or makes more than 2^31");
    const int64_t most = fill == Fill::reflect ? size - 1 : fill == Fill::circular ? size : out;
    need(node, fill == Fill::constant || (before <= most && after <= most && (size > 0 || out == 0)), "pads by more than the input has");
    for (int64_t i = 0; i < out; ++i) {
      int64_t at = i - before;
      if (at < 0 || at >= size) {
        if (fill == Fill::constant) at = -1;
        if (fill == Fill::replicate) at = at < 0 ? 0 : size - 1;
        if (fill == Fill::circular) at = at < 0 ? at + size : at - size;
        if (fill == Fill::reflect) at = at < 0 ? -at : 2 * (size - 1) - at;
      }
      found[size_t(axis)].push_back(at);
    }
  }
  return found;
}

std::vector<Spec> infer_pad(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  Spec out;
  for (const std::vector<int64_t>& axis : places(node, inputs[0]->shape)) out.shape.push(axis.size());
  return {out};
}

void pad(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Dims& from = inputs[0]->spec.shape;
  const std::vector<std::vector<int64_t>> at = places(node, from);
  const float value = node.has("value") ? float(node.number("value")) : 0.0f;
  const uint64_t total = numel(outputs[0]->spec);
  const int last = from.ndim - 1;
  const uint64_t n = last >= 0 ? at[size_t(last)].size() : 1;
  bool straight = last >= 0;  // rows are copied as they are
  for (uint64_t i = 0; straight && i < n; ++i) straight = n == from.size[last] && at[size_t(last)][size_t(i)] == int64_t(i);
  std::vector<uint64_t> index(at.size(), 0);
  for (uint64_t done = 0; done < total; done += n) {
    int64_t base = 0;
    bool outside = false;
    for (int axis = 0; axis < last; ++axis) {
      const int64_t place = at[size_t(axis)][size_t(index[size_t(axis)])];
      outside = outside || place < 0;
      base = (base + place) * int64_t(from.size[axis + 1]);
    }
    float* y = outputs[0]->f32() + done;
    if (outside) {
      std::fill(y, y + n, value);
    } else if (straight) {
      std::copy(inputs[0]->f32() + base, inputs[0]->f32() + base + n, y);
    } else {
      for (uint64_t i = 0; i < n; ++i) {
        const int64_t place = last >= 0 ? at[size_t(last)][size_t(i)] : 0;
        y[i] = place < 0 ? value : inputs[0]->f32()[base + place];
      }
    }
    for (int axis = last - 1; axis >= 0; --axis) {
      if (++index[size_t(axis)] < at[size_t(axis)].size()) break;
      index[size_t(axis)] = 0;
    }
  }
}

// ---- embedding

std::vector<Spec> infer_embedding(const Node& node, const Specs& inputs, uint64_t) {
  need(node, inputs[0]->dtype == Dtype::kFloat32 && inputs[0]->shape.ndim == 2, "its table is a matrix of floats");
  need(node, inputs[1]->dtype == Dtype::kInt64, "its indices are integers");
  Spec out{Dtype::kFloat32, inputs[1]->shape};
  out.shape.push(inputs[0]->shape.size[1]);
  return {out};
}

void embedding(const Node&, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const uint64_t rows = inputs[0]->spec.shape.size[0], width = inputs[0]->spec.shape.size[1];
  const uint64_t count = numel(inputs[1]->spec);
  for (uint64_t i = 0; i < count; ++i) {
    const int64_t row = inputs[1]->i64()[i];
    if (row < 0 || uint64_t(row) >= rows) refuse("embedding: index " + std::to_string(row) + " into a table of " + str(rows) + " rows");
  }
  for (uint64_t i = 0; i < count && width; ++i) {
    std::memcpy(outputs[0]->f32() + i * width, inputs[0]->f32() + uint64_t(inputs[1]->i64()[i]) * width, size_t(width) * sizeof(float));
  }
}

}  // namespace

void add_join_rules(Rules& rules) {
  const Rules ours = {
      {8, false, infer_embedding, embedding},
      {70, false, infer_cat, cat},
      {71, false, infer_stack, stack},
      {81, false, infer_pad, pad},
  };
  rules.insert(rules.end(), ours.begin(), ours.end());
}

}  // namespace tersenet
