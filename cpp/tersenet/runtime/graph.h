// graph.h - the graph section as a checked op list, as tersenet/ir/serial.py and graph.py read it.
//
// Values are numbered: the inputs first, then the outputs of each node in order. A node refers to earlier values
// and declared tensors only; that is checked here and trusted from here on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tersenet/runtime/ops.h"

namespace tersenet {

struct TensorRef {
  bool parameter;   // the number of a stored tensor, else of a value
  uint32_t number;
};

// One argument: the field of its kind, or the default. `given` is false where it is nothing.
struct ArgumentValue {
  bool given = false;
  bool is_float = false;       // a number that is a float
  int64_t integer = 0;         // i, b, and n as an integer
  double real = 0;             // f and n
  std::vector<int64_t> ints;   // I
  std::string text;            // s
  std::vector<TensorRef> refs; // x and x*
};

struct Node {
  const OpInfo* op = nullptr;
  std::vector<ArgumentValue> arguments;  // in the order of the operation's
  uint32_t first_output = 0;             // the number of its first output

  const ArgumentValue& get(const char* name) const;   // by name; a name that the operation lacks is a bug
  int64_t integer(const char* name) const { return get(name).integer; }
  double number(const char* name) const { return get(name).real; }
  const std::vector<int64_t>& ints(const char* name) const { return get(name).ints; }
  bool flag(const char* name) const { return get(name).integer != 0; }
  bool has(const char* name) const { return get(name).given; }

  // The tensor arguments in order, lists flattened; `present` says which are there (x? may not be).
  struct Slot { bool present; TensorRef ref; };
  std::vector<Slot> tensors() const;
};

struct GraphInput {
  std::string name;
  int dtype;                    // an index into the dtypes of graph.py
  std::vector<uint64_t> shape;  // without the batch axis
};

struct GraphOutput {
  std::string name;
  uint32_t value;
};

struct GraphParameter {
  std::string name;
  int dtype;
};

struct Graph {
  std::vector<GraphInput> inputs;
  std::vector<GraphParameter> parameters;
  std::vector<Node> nodes;
  std::vector<GraphOutput> outputs;
  uint32_t values = 0;
};

constexpr const char* kDtypeNames[] = {"float32", "int64", "bool", "float16", "int32", "float64", "bfloat16"};

// Refuses (refuse.h) what is cut, unknown or does not hold together.
Graph read_graph(const uint8_t* data, size_t size);

}  // namespace tersenet
