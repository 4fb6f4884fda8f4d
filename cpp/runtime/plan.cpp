#include "tersenet/runtime/plan.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "tersenet/runtime/operation.h"
#include "tersenet/runtime/shapes.h"

namespace tersenet {
namespace {

constexpr int kLinear = 0, kConv1d = 1, kConv2d = 2, kBatchNorm = 4, kLstmCell = 9, kAdd = 40, kSign = 88;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Planner {
 public:
  Planner(const Graph& graph, const std::vector<Spec>& specs, const std::vector<Spec>& parameters)
      : graph_(graph), specs_(specs), parameters_(parameters), uses_(graph.values, 0), reader_(graph.values, nullptr), taken_(graph.nodes.size(), false) {
    for (const Node& node : graph.nodes) {
      for (const Node::Slot& slot : node.tensors()) {
        if (!slot.present || slot.ref.parameter) continue;
        ++uses_[slot.ref.number];
        reader_[slot.ref.number] = &node;
      }
    }
    for (const GraphOutput& output : graph.outputs) uses_[output.value] += 2;
  }

  Plan run() {
    Plan plan;
    std::vector<std::pair<size_t, Step>> placed;  // by the position of the last node
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (taken_[i]) continue;
      const Node& node = graph_.nodes[i];
      Step step;
      step.node = &node;
      step.output = node.first_output;
      step.outputs = uint32_t(node.op->outputs);
      step.inputs = node.tensors();
      size_t last = i;
      if (leads_to_conv(node)) continue;  // the convolution will find it
      if (node.op->code == kLinear || node.op->code == kConv1d || node.op->code == kConv2d) {
        step.kind = node.op->code == kLinear || covers_image(node) ? StepKind::linear : StepKind::conv;
        step.signs = are_signs(step.inputs[0]);
        take_pad(step);
        last = take_followers(step, i);
      } else if (node.op->code == kLstmCell) {
        step.kind = StepKind::lstm_cell;
      } else {
        step.kind = find_rule(node.op->code)->alias ? StepKind::alias : StepKind::rule;
      }
      placed.emplace_back(last, std::move(step));
    }
    std::stable_sort(placed.begin(), placed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [last, step] : placed) plan.steps.push_back(std::move(step));
    return plan;
  }

 private:
  const Graph& graph_;
  const std::vector<Spec>& specs_;
  const std::vector<Spec>& parameters_;
  std::vector<uint32_t> uses_;
  std::vector<const Node*> reader_;  // of values with one use: the node that uses them
  std::vector<bool> taken_;

  // The one node that reads a value, unless a step before has taken it in (an addition has two inputs).
  const Node* next(uint32_t value) const {
    const Node* reader = uses_[value] == 1 ? reader_[value] : nullptr;
    return reader && !taken_[position(reader)] ? reader : nullptr;
  }

  size_t position(const Node* node) const { return size_t(node - graph_.nodes.data()); }

  size_t take(Step& step, const Node* node) {
    const size_t at = position(node);
    taken_[at] = true;
    step.output = node->first_output;
    return at;
  }

  size_t take_followers(Step& step, size_t last) {
    const Node* follower = next(step.output);
    if (follower && follower->op->code == kBatchNorm && norm_is_constant(step, *follower)) {
      step.norm = follower;
      last = take(step, follower);
      follower = next(step.output);
    }
    if (!step.norm && follower && follower->op->name == "mul" && is_by_row(step, *follower)) {
      step.scale = follower;
      last = take(step, follower);
      follower = next(step.output);
    }
    if (!step.norm && follower && follower->op->code == kAdd && follower->get("alpha").real == 1 && is_by_row(step, *follower)) {
      step.shift = follower;
      last = take(step, follower);
      follower = next(step.output);
    }
    if (follower && follower->op->code == kAdd && adds_value(step, *follower)) {
      step.add = follower;
      last = take(step, follower);
      follower = next(step.output);
    }
    if (follower && is_activation(step, *follower)) {
      step.activation = follower;
      last = take(step, follower);
    }
    return last;
  }

  // Zeros around the last two axes, read by one convolution whose kernel does not cover all of them.
  bool leads_to_conv(const Node& node) const {
    if (node.op->name != "pad" || node.get("mode").text != "constant" || (node.has("value") && node.number("value") != 0)) return false;
    const std::vector<int64_t>& pad = node.ints("pad");
    const Node* reader = next(node.first_output);
    if (reader == nullptr || reader->op->code != kConv2d || pad.size() > 4 || covers_image(*reader)) return false;
    const Node::Slot input = reader->tensors()[0];
    for (int64_t side : pad) {
      if (side < 0) return false;
    }
    return input.present && !input.ref.parameter && input.ref.number == node.first_output && !node.get("self").refs[0].parameter;
  }

  void take_pad(Step& step) {
    const Node::Slot input = step.inputs[0];
    if (step.kind != StepKind::conv || input.ref.parameter) return;
    const Node* node = source(input.ref.number);
    if (node == nullptr || !leads_to_conv(*node)) return;
    step.pad = node;
    step.inputs[0] = node->tensors()[0];
  }

  // The node whose first output a value is, or null.
  const Node* source(uint32_t value) const {
    // Nodes come in the order of their outputs.
    const auto before = std::upper_bound(graph_.nodes.begin(), graph_.nodes.end(), value, [](uint32_t wanted, const Node& node) { return wanted < node.first_output; });
    if (before == graph_.nodes.begin() || std::prev(before)->first_output != value) return nullptr;
    return &*std::prev(before);
  }

  bool are_signs(Node::Slot slot) const {
    while (slot.present && !slot.ref.parameter) {
      const Node* node = source(slot.ref.number);
      if (node == nullptr) return false;
      if (node->op->code == kSign) return true;
      const Rule* rule = find_rule(node->op->code);  // layers have none
      if (rule == nullptr || !rule->alias) return false;
      slot = node->tensors()[0];
    }
    return false;
  }

  bool covers_image(const Node& node) const {
    if (node.op->code != kConv2d || node.integer("groups") != 1) return false;
    for (const char* name : {"padding", "dilation"}) {
      for (int64_t one : node.ints(name)) {
        if (one != (name[0] == 'd')) return false;
      }
    }
    const Node::Slot input = node.tensors()[0];
    if (input.ref.parameter) return false;
    const Dims &x = specs_[input.ref.number].shape, &y = specs_[node.first_output].shape;
    const Node::Slot weight = node.tensors()[1];
    if (!weight.ref.parameter || y.size[2] != 1 || y.size[3] != 1) return false;
    const Dims& w = parameters_[weight.ref.number].shape;
    return x.size[2] == w.size[2] && x.size[3] == w.size[3];
  }

  // Acts on the rows of the weight: axis 1 is theirs.
  bool norm_is_constant(const Step& step, const Node& node) const {
    if (step.node->op->code == kLinear && specs_[step.output].shape.ndim != 2) return false;
    const uint32_t input = step.output;
    const std::vector<Node::Slot> slots = node.tensors();
    bool fits = slots[0].present && !slots[0].ref.parameter && slots[0].ref.number == input;
    for (size_t i = 1; i < slots.size(); ++i) fits = fits && (!slots[i].present || slots[i].ref.parameter);
    return fits && node.has("running_mean") && node.has("running_var");
  }

  // The second factor or term is stored, one number for each channel of an image.
  bool is_by_row(const Step& step, const Node& node) const {
    const TensorRef self = node.get("self").refs[0], other = node.get("other").refs[0];
    const Dims& out = specs_[step.output].shape;
    if (self.parameter || self.number != step.output || !other.parameter || out.ndim < 3) return false;
    const Spec& by = parameters_[other.number];
    const int lead = out.ndim - by.shape.ndim;
    if (by.dtype != Dtype::kFloat32 || lead < 0 || lead > 1) return false;
    for (int i = 0; i < by.shape.ndim; ++i) {
      if (by.shape.size[i] != (i + lead == 1 ? out.size[1] : 1)) return false;
    }
    return true;
  }

  bool adds_value(Step& step, const Node& node) const {
    const ArgumentValue& alpha = node.get("alpha");
    const TensorRef self = node.get("self").refs[0], other = node.get("other").refs[0];
    if (alpha.real != 1) return false;
    step.residual = !self.parameter && self.number == step.output ? other : self;
    return !step.residual.parameter && specs_[step.residual.number].dtype == Dtype::kFloat32 &&
           specs_[step.residual.number].shape == specs_[step.output].shape;
  }

  static bool is_activation(Step& step, const Node& node) {
    const std::string& name = node.op->name;
    if (name == "relu") {
      set(step, Activation::clamp, 0, kInfinity);
    } else if (name == "relu6") {
      set(step, Activation::clamp, 0, 6);
    } else if (name == "hardtanh") {
      set(step, Activation::clamp, float(node.number("min_val")), float(node.number("max_val")));
    } else if (name == "leaky_relu") {
      set(step, Activation::leaky, float(node.number("negative_slope")), 0);
    } else {
      return false;
    }
    return true;
  }

  static void set(Step& step, Activation act, float low, float high) {
    step.act = act;
    step.low = low;
    step.high = high;
  }
};

}  // namespace

Plan make_plan(const Graph& graph, const std::vector<Spec>& specs, const std::vector<Spec>& parameters) { return Planner(graph, specs, parameters).run(); }

ConvShape shape_of_conv(const Step& step, const Spec& x, const Spec& weight) {
  if (step.pad == nullptr) return conv_shape(*step.node, x, weight);
  std::vector<int64_t> pad = step.pad->ints("pad");
  pad.resize(4, 0);
  Spec padded = x;
  padded.shape.size[3] += uint64_t(pad[0] + pad[1]);
  padded.shape.size[2] += uint64_t(pad[2] + pad[3]);
  ConvShape shape = conv_shape(*step.node, padded, weight);
  shape.in_h = uint32_t(x.shape.size[2]);
  shape.in_w = uint32_t(x.shape.size[3]);
  shape.pad_left += uint32_t(pad[0]);
  shape.pad_right += uint32_t(pad[1]);
  shape.pad_top += uint32_t(pad[2]);
  shape.pad_bottom += uint32_t(pad[3]);
  return shape;
}

// conv_shape has seen to it that one image is below 2^31.
void check_images(const ConvShape& shape, uint64_t images, uint64_t limit) {
  const uint64_t padded = (uint64_t(shape.in_h) + shape.pad_top + shape.pad_bottom + shape.stride_h) * (uint64_t(shape.in_w) + shape.pad_left + shape.pad_right + shape.stride_w);
  if (padded * shape.in_channels > limit / sizeof(float) / std::max<uint64_t>(images, 1)) {
    refuse("padded images need more than the limit of " + str(limit) + " bytes; pass a larger max_bytes or a smaller batch");
  }
}

}  // namespace tersenet
