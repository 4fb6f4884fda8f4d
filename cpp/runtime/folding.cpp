#include "tersenet/runtime/folding.h"

#include <cmath>

#include "tersenet/refuse.h"

namespace tersenet {
namespace {

using Floats = std::function<std::vector<float>(const Node::Slot&)>;

// (acc + bias) * scale + shift.
Folded by_row(const Step& step, const std::vector<float>& bias, const Floats& floats) {
  const auto stored = [&](const Node* node) { return node ? floats(node->tensors()[1]) : std::vector<float>(); };
  const std::vector<float> scale = stored(step.scale);
  std::vector<float> shift = stored(step.shift);
  if (!bias.empty()) {
    shift.resize(bias.size(), 0.0f);
    for (size_t r = 0; r < bias.size(); ++r) shift[r] += scale.empty() ? bias[r] : bias[r] * scale[r];
  }
  return {aligned(scale), aligned(shift)};
}

// scale = gamma / sqrt(var + eps); shift = beta + (bias - mean) * scale.
Folded norm(const Step& step, const std::vector<float>& bias, uint64_t rows, const Floats& floats) {
  const std::vector<Node::Slot> slots = step.norm->tensors();
  const std::vector<float> gamma = floats(slots[1]), beta = floats(slots[2]), mean = floats(slots[3]), var = floats(slots[4]);
  for (const std::vector<float>* part : {&gamma, &beta, &mean, &var}) {
    if (!part->empty() && part->size() != rows) refuse("a batch norm of " + str(part->size()) + " channels after " + str(rows) + " outputs");
  }
  const double eps = step.norm->number("eps");
  Folded found{AlignedVector<float>(size_t(rows)), AlignedVector<float>(size_t(rows))};
  for (size_t r = 0; r < rows; ++r) {
    const double scale = (gamma.empty() ? 1.0 : double(gamma[r])) / std::sqrt(double(var[r]) + eps);
    found.scale[r] = float(scale);
    found.shift[r] = float((beta.empty() ? 0.0 : double(beta[r])) + ((bias.empty() ? 0.0 : double(bias[r])) - double(mean[r])) * scale);
  }
  return found;
}

}  // namespace

Folded fold_rows(const Step& step, const std::vector<float>& bias, uint64_t rows, const Floats& floats) {
  return step.norm ? norm(step, bias, rows, floats) : by_row(step, bias, floats);
}

}  // namespace tersenet
