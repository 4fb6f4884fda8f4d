// shapes.h - the dtype and shape of every value of a graph, for a batch.
#pragma once

#include "tersenet/runtime/layer.h"
#include "tersenet/runtime/operation.h"

namespace tersenet {

constexpr int kOpLinear = 0, kOpConv1d = 1, kOpConv2d = 2, kOpLstmCell = 9;

// Operations that multiply by a weight and have no Rule.
inline bool is_product(int code) { return code == kOpLinear || code == kOpConv1d || code == kOpConv2d || code == kOpLstmCell; }

// The geometry of a conv1d (as one of height 1) or conv2d; refuses what does not fit together.
ConvShape conv_shape(const Node& node, const Spec& input, const Spec& weight);

// Specs of all values, inputs first. `parameters` are those of the stored tensors. Every operation must be known.
std::vector<Spec> infer_values(const Graph& graph, const std::vector<Spec>& parameters, uint64_t batch);

// Names of operations that nothing here runs, each once.
std::vector<std::string> missing_operations(const Graph& graph);

}  // namespace tersenet
