// plan.h - the op list as steps to run: what multiplies by a weight takes in the batch norm, the addition and the
// activation that follow it, so that they cost no pass over memory.
//
// READ FIRST
//   0. Zeros that are put around an image are taken in by the convolution that follows. A convolution whose kernel
//      covers its image is a linear layer.
//   1. A node is taken in only where its input has no other use and is not an output of the network.
//   2. An input that a `sign` gave, perhaps under another shape, is known to be -1, 0 or 1.
//   3. A step stands where its last node stood, so that everything it reads has been computed by then.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tersenet/runtime/graph.h"
#include "tersenet/runtime/layer.h"
#include "tersenet/runtime/operation.h"

namespace tersenet {

enum class StepKind : uint8_t { rule, alias, linear, conv, lstm_cell };

struct Step {
  StepKind kind = StepKind::rule;
  const Node* node = nullptr;              // the first of its nodes
  const Node* pad = nullptr;               // zeros around its image, or null
  const Node* scale = nullptr;             // a multiplication by one stored number a row, or null
  const Node* shift = nullptr;             // an addition of one stored number a row, or null
  const Node* norm = nullptr;              // batch_norm, or null
  const Node* add = nullptr;               // with a tensor of the same shape, or null
  const Node* activation = nullptr;        // or null
  TensorRef residual = {false, 0};         // where there is an `add`
  Activation act = Activation::none;
  float low = 0, high = 0;
  bool signs = false;                      // its first input comes from a sign: -1, 0 or 1
  std::vector<Node::Slot> inputs;          // values and parameters it reads, in the order of Node::tensors
  uint32_t output = 0;                     // its first value
  uint32_t outputs = 1;
};

struct Plan {
  std::vector<Step> steps;
};

// `specs` are those of the values (shapes.h) at a batch of at least 2, so that a 1 that is to be broadcast shows.
Plan make_plan(const Graph& graph, const std::vector<Spec>& specs, const std::vector<Spec>& parameters);

// The geometry of a conv step, with the zeros that it took in.
ConvShape shape_of_conv(const Step& step, const Spec& x, const Spec& weight);

// Convolutions copy their images with padding: refuses so many that take more than `limit` bytes.
void check_images(const ConvShape& shape, uint64_t images, uint64_t limit);

}  // namespace tersenet
