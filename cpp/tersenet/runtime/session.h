// session.h - a .terse file opened to be run: shapes, kernels and memory are settled once, then x gives y.
//
//   Session(file, size, options)   the file's bytes may go afterwards
//   run(inputs, batch, outputs)    inputs and outputs contiguous, in the order of inputs() and outputs()
//
// READ FIRST
//   1. Everything is refused when the session opens, but for a batch that a shape cannot take, memory for it, and
//      what only data shows to be wrong (an embedding's index).
//   2. A session is used by one thread at a time; it locks. Two sessions share nothing.
//   3. What stays in memory is the kernels' run forms, constants and one block for the values of the last batch.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tersenet/runtime/choose.h"
#include "tersenet/runtime/file.h"
#include "tersenet/runtime/operation.h"
#include "tersenet/runtime/plan.h"

namespace tersenet {

struct SessionOptions {
  int threads = 1;
  uint64_t max_bytes = 0;   // 0: default_limit of the file for its weights, 16 GiB for values
  size_t batch = 1;         // the batch that kernels are chosen for
  bool int8 = false;        // layers and convolutions on eight-bit integers, where they fit (kernels/int8.h)
  std::vector<std::pair<std::string, std::string>> kernels;  // weight -> kernel to take without timing
};

struct PlanRow {
  std::string operation, weight, kernel;  // weight is empty where an operation has none
  uint64_t bytes = 0;                     // of its run form and constants
  double expected_us = 0, measured_us = 0;
  std::vector<Candidate> tried;
};

class Session {
 public:
  Session(const uint8_t* file, size_t size, const SessionOptions& options);
  ~Session();

  const std::vector<GraphInput>& inputs() const;
  std::vector<std::string> output_names() const;
  // For a batch; refuses one that the network cannot take.
  std::vector<Spec> output_specs(uint64_t batch);
  void run(const std::vector<const void*>& inputs, uint64_t batch, const std::vector<void*>& outputs);
  // Runs on a sample `rounds` times, and gives the median time of each step beside what was expected.
  std::vector<PlanRow> plan(uint64_t batch, int rounds);
  // The kernel of each weight, as SessionOptions::kernels takes them.
  std::vector<std::pair<std::string, std::string>> kernels() const;
  uint64_t weight_bytes() const;   // run forms and constants
  uint64_t value_bytes() const;    // the block for values and the threads' scratch
  int threads() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace tersenet
