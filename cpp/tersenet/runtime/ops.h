// ops.h - the fixed list of operations, as tersenet/ir/ops.py has it (a test compares the two, row by row).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tersenet {

struct OpArgument {
  std::string name;
  char kind;            // x i I f n b s, as in ops.py; a list of tensors is '*'
  bool maybe, required; // may be nothing; has no default
  std::string fallback; // the default as ops.py spells it
};

struct OpInfo {
  int code;
  std::string name;
  std::vector<OpArgument> arguments;
  int outputs;
};

// Null where the code is not known.
const OpInfo* find_op(int code);
const std::vector<OpInfo>& all_ops();

}  // namespace tersenet
