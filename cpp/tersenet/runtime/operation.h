// operation.h - what one operation of the op list does at run time: the shape of its outputs, and their values.
//
// Linear layers, convolutions and LSTM cells multiply by weights and go through layer.h; everything else is a Rule
// in one of the tables of cpp/runtime/*_ops.cpp, found by its code (spec/operations.md).
//
// READ FIRST
//   0. `batch` is axis 0 of the network's first input: an expand may ask for it.
//   1. Tensors are contiguous, row-major. float32 is kFloat32; integers are kInt64; truth values are kBool, a byte
//      each. A rule refuses (refuse.h) dtypes, shapes and arguments it does not serve in `infer`, never in `run`.
//   2. `infer` is called when a session opens and for each new batch size: sizes are concrete. `run` trusts it.
//   3. Products of sizes use checked_numel: shapes come from a file that is not trusted.
//   4. Values that only the data can show to be wrong (an embedding's index) are refused in `run`, before any read.
#pragma once

#include <cstdint>
#include <vector>

#include "tersenet/runtime/graph.h"
#include "tersenet/runtime/pool.h"
#include "tersenet/storage_tree.h"

namespace tersenet {

enum class Dtype : uint8_t { kFloat32, kInt64, kBool };

inline size_t item_bytes(Dtype dtype) { return dtype == Dtype::kFloat32 ? 4 : dtype == Dtype::kInt64 ? 8 : 1; }

struct Spec {
  Dtype dtype = Dtype::kFloat32;
  Dims shape;
};

struct Tensor {
  Spec spec;
  void* data = nullptr;

  float* f32() const { return static_cast<float*>(data); }
  int64_t* i64() const { return static_cast<int64_t*>(data); }
  uint8_t* truth() const { return static_cast<uint8_t*>(data); }
};

// The tensor arguments of a node in the order of Node::tensors: lists flattened, an absent one is null.
using Specs = std::vector<const Spec*>;
using Tensors = std::vector<const Tensor*>;

struct Rule {
  int code;
  bool alias;  // the output is the first input's bytes under another shape: nothing is run
  std::vector<Spec> (*infer)(const Node& node, const Specs& inputs, uint64_t batch);
  void (*run)(const Node& node, const Tensors& inputs, const std::vector<Tensor*>& outputs, Pool& pool);
};

// Null for a code that has no rule.
const Rule* find_rule(int code);

// Axis of a PyTorch dim argument, which may be negative; refuses one that is not there.
inline int axis_of(int64_t dim, int ndim) {
  const int64_t axis = dim < 0 ? dim + ndim : dim;
  if (axis < 0 || axis >= (ndim ? ndim : 1)) refuse("axis " + std::to_string(dim) + " of a tensor of " + std::to_string(ndim) + " dimensions");
  return int(axis);
}

}  // namespace tersenet
