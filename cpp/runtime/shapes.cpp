#include "tersenet/runtime/shapes.h"

#include <algorithm>

namespace tersenet {
namespace {

constexpr uint64_t kMost = uint64_t(1) << 31;

uint32_t size_of(int64_t value, int64_t least, const char* what) {
  if (value < least || value >= int64_t(kMost)) refuse(std::string("a convolution's ") + what + " of " + std::to_string(value));
  return uint32_t(value);
}

// A list argument of one or `count` entries.
int64_t entry(const std::vector<int64_t>& ints, size_t i, size_t count, const char* what) {
  if (ints.size() != 1 && ints.size() != count) refuse(std::string("a convolution's ") + what + " has " + str(ints.size()) + " entries; expected 1 or " + str(count));
  return ints.size() == 1 ? ints[0] : ints[i];
}

uint32_t out_size(uint64_t in, uint64_t before, uint64_t after, uint64_t kernel, uint64_t dilation, uint64_t stride) {
  const uint64_t padded = in + before + after, span = dilation * (kernel - 1) + 1;
  if (padded < span) refuse("a convolution's kernel spans " + str(span) + " places of an input of " + str(padded));
  return uint32_t((padded - span) / stride + 1);
}

bool same(const Dims& shape, std::initializer_list<uint64_t> sizes) {
  return shape.ndim == int(sizes.size()) && std::equal(sizes.begin(), sizes.end(), shape.size);
}

void need_float(const Specs& inputs, const Node& node) {
  for (const Spec* input : inputs) {
    if (input && input->dtype != Dtype::kFloat32) refuse(node.op->name + " takes floats only");
  }
}

std::vector<Spec> infer_linear(const Specs& inputs) {
  const Dims &x = inputs[0]->shape, &weight = inputs[1]->shape;
  if (weight.ndim != 2 || x.ndim < 1 || x.size[x.ndim - 1] != weight.size[1]) refuse("linear: the input's last size is not the weight's");
  if (inputs[2] && !same(inputs[2]->shape, {weight.size[0]})) refuse("linear: the bias has not one entry for each row of the weight");
  Spec out{Dtype::kFloat32, x};
  out.shape.size[x.ndim - 1] = weight.size[0];
  return {out};
}

std::vector<Spec> infer_conv(const Node& node, const Specs& inputs) {
  const ConvShape shape = conv_shape(node, *inputs[0], *inputs[1]);
  if (inputs[2] && !same(inputs[2]->shape, {shape.out_channels})) refuse("a convolution's bias has not one entry for each output channel");
  Spec out{Dtype::kFloat32, {}};
  out.shape.push(inputs[0]->shape.size[0]);
  out.shape.push(shape.out_channels);
  if (node.op->code == kOpConv2d) out.shape.push(shape.out_h);
  out.shape.push(shape.out_w);
  return {out};
}

// input, h, c, w_ih, w_hh, b_ih, b_hh; gates i, f, g, o.
std::vector<Spec> infer_lstm_cell(const Specs& inputs) {
  if (inputs.size() != 7) refuse("lstm_cell takes two hidden states");
  const Dims &x = inputs[0]->shape, &h = inputs[1]->shape, &c = inputs[2]->shape;
  if (x.ndim != 2 || h.ndim != 2 || !(c == h) || x.size[0] != h.size[0]) refuse("lstm_cell: the input and the hidden states do not fit together");
  const uint64_t gates = 4 * h.size[1];
  bool fits = same(inputs[3]->shape, {gates, x.size[1]}) && same(inputs[4]->shape, {gates, h.size[1]});
  for (size_t i : {5, 6}) fits = fits && (!inputs[i] || same(inputs[i]->shape, {gates}));
  if (!fits) refuse("lstm_cell: a weight or bias does not fit the hidden state of " + str(h.size[1]));
  return {{Dtype::kFloat32, h}, {Dtype::kFloat32, h}};
}

std::vector<Spec> infer_node(const Node& node, const Specs& inputs, uint64_t batch) {
  if (!is_product(node.op->code)) return find_rule(node.op->code)->infer(node, inputs, batch);
  need_float(inputs, node);
  if (node.op->code == kOpLinear) return infer_linear(inputs);
  if (node.op->code == kOpLstmCell) return infer_lstm_cell(inputs);
  return infer_conv(node, inputs);
}

}  // namespace

ConvShape conv_shape(const Node& node, const Spec& input, const Spec& weight) {
  const bool flat = node.op->code == kOpConv1d;
  const size_t axes = flat ? 1 : 2;
  const Dims &x = input.shape, &w = weight.shape;
  if (x.ndim != int(axes) + 2 || w.ndim != x.ndim) refuse(node.op->name + " takes an input and a weight of " + str(axes + 2) + " dimensions");
  for (int i = 1; i < x.ndim; ++i) size_of(int64_t(x.size[i]), 1, "size");
  for (int i = 0; i < w.ndim; ++i) size_of(int64_t(w.size[i]), 1, "size");
  ConvShape shape{};
  shape.in_channels = uint32_t(x.size[1]);
  shape.out_channels = uint32_t(w.size[0]);
  shape.groups = size_of(node.integer("groups"), 1, "groups");
  if (shape.in_channels % shape.groups || shape.out_channels % shape.groups || w.size[1] != shape.in_channels / shape.groups) {
    refuse("a convolution of " + str(shape.groups) + " groups from " + str(shape.in_channels) + " to " + str(shape.out_channels) + " channels; its weight takes " + str(w.size[1]) + " at a time");
  }
  uint32_t stride[2] = {1, 1}, dilation[2] = {1, 1}, pad[2] = {0, 0};
  for (size_t i = 0; i < axes; ++i) {
    const size_t to = flat ? 1 : i;
    stride[to] = size_of(entry(node.ints("stride"), i, axes, "stride"), 1, "stride");
    dilation[to] = size_of(entry(node.ints("dilation"), i, axes, "dilation"), 1, "dilation");
    pad[to] = size_of(entry(node.ints("padding"), i, axes, "padding"), 0, "padding");
  }
  shape.stride_h = stride[0], shape.stride_w = stride[1];
  shape.dilation_h = dilation[0], shape.dilation_w = dilation[1];
  shape.pad_top = shape.pad_bottom = pad[0];
  shape.pad_left = shape.pad_right = pad[1];
  shape.in_h = flat ? 1 : uint32_t(x.size[2]);
  shape.in_w = uint32_t(x.size[axes + 1]);
  shape.kernel_h = flat ? 1 : uint32_t(w.size[2]);
  shape.kernel_w = uint32_t(w.size[axes + 1]);
  shape.out_h = out_size(shape.in_h, pad[0], pad[0], shape.kernel_h, shape.dilation_h, shape.stride_h);
  shape.out_w = out_size(shape.in_w, pad[1], pad[1], shape.kernel_w, shape.dilation_w, shape.stride_w);
  // One output needs no stride; where there are more, the stride is less than the padded image.
  if (shape.out_h == 1) shape.stride_h = 1;
  if (shape.out_w == 1) shape.stride_w = 1;
  const uint64_t products[][3] = {{shape.in_channels, shape.in_h, shape.in_w}, {shape.out_channels, shape.out_h, shape.out_w}, {shape.in_channels, uint64_t(shape.in_h) + 2 * uint64_t(pad[0]) + shape.stride_h, uint64_t(shape.in_w) + 2 * uint64_t(pad[1]) + shape.stride_w}};
  for (const auto& sizes : products) {
    Dims dims;
    for (uint64_t size : sizes) dims.push(size);
    if (checked_numel(dims) >= kMost) refuse("a convolution of an image of 2^31 or more elements");
  }
  return shape;
}

std::vector<Spec> infer_values(const Graph& graph, const std::vector<Spec>& parameters, uint64_t batch) {
  std::vector<Spec> values(graph.values);
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const GraphInput& input = graph.inputs[i];
    const int dtype = input.dtype;
    if (dtype > 2) refuse("input '" + input.name + "' is " + kDtypeNames[dtype] + "; the runtime takes float32, int64 and bool");
    values[i].dtype = dtype == 0 ? Dtype::kFloat32 : dtype == 1 ? Dtype::kInt64 : Dtype::kBool;
    values[i].shape.push(batch);
    for (uint64_t size : input.shape) values[i].shape.push(size);
    checked_numel(values[i].shape);
  }
  Specs inputs;
  for (const Node& node : graph.nodes) {
    inputs.clear();
    for (const Node::Slot& slot : node.tensors()) {
      inputs.push_back(!slot.present ? nullptr : slot.ref.parameter ? &parameters[slot.ref.number] : &values[slot.ref.number]);
    }
    std::vector<Spec> outputs = infer_node(node, inputs, batch);
    for (size_t k = 0; k < outputs.size(); ++k) {
      checked_numel(outputs[k].shape);
      values[node.first_output + k] = outputs[k];
    }
  }
  return values;
}

std::vector<std::string> missing_operations(const Graph& graph) {
  std::vector<std::string> missing;
  for (const Node& node : graph.nodes) {
    const bool known = is_product(node.op->code) || find_rule(node.op->code) != nullptr;
    if (!known && std::find(missing.begin(), missing.end(), node.op->name) == missing.end()) missing.push_back(node.op->name);
  }
  return missing;
}

}  // namespace tersenet
