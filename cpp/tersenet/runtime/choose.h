// choose.h - the fastest kernel for one layer, found by running every one that fits it on this machine.
//
// READ FIRST
//   1. A family's candidates are made together, timed, and dropped but for the best so far: beside the weight itself,
//      the run forms of one family and the best one are in memory.
//   2. A dense one takes part where it needs at most kDenseFree bytes or twice those of another: a network opened
//      from its compressed form does not become dense to be timed. Winograd's needs 16/9 of the weight's floats.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tersenet/runtime/layer.h"

namespace tersenet {

constexpr uint64_t kDenseFree = uint64_t(8) << 20;

struct Candidate {
  std::string name;
  size_t bytes;
  double time_us;  // the best of a few runs; 0 where nothing was timed
};

template <class Kernel>
struct Choice {
  std::unique_ptr<Kernel> kernel;
  std::vector<Candidate> tried;  // in the order they were made
};

struct ChooseOptions {
  Cpu cpu = Cpu::scalar;
  size_t batch = 1;
  std::string wanted;    // the name of the kernel to take without timing; empty: time them
  bool int8 = false;     // only kernels on eight-bit integers, where one fits
  std::optional<Int8Range> range = {};  // of their inputs, where it is fixed
  bool signs = false;    // inputs are -1, 0 or 1
};

Choice<LinearKernel> choose_linear(const Matrix& weight, const ChooseOptions& options, Pool& pool);
Choice<ConvKernel> choose_conv(const Matrix& weight, const ConvShape& shape, const ChooseOptions& options, Pool& pool);

}  // namespace tersenet
