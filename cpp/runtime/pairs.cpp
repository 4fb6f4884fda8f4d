#include "tersenet/runtime/pairs.h"

#include <numeric>

namespace tersenet {

Pairs find_pairs(const Graph& graph, const Plan& plan, const std::function<bool(size_t, size_t)>& fit) {
  const size_t steps = plan.steps.size();
  std::vector<size_t> readers(graph.values, 0), maker(graph.values, steps);
  const auto read = [&](const TensorRef& ref) {
    if (!ref.parameter) ++readers[ref.number];
  };
  for (size_t i = 0; i < steps; ++i) {
    const Step& step = plan.steps[i];
    if (step.kind == StepKind::conv) maker[step.output] = i;
    for (const Node::Slot& slot : step.inputs) {
      if (slot.present) read(slot.ref);
    }
    if (step.add) read(step.residual);
  }
  for (const GraphOutput& output : graph.outputs) ++readers[output.value];

  Pairs found{std::vector<size_t>(steps), std::vector<size_t>(steps)};
  std::iota(found.runs_at.begin(), found.runs_at.end(), size_t(0));
  std::iota(found.feeder.begin(), found.feeder.end(), size_t(0));
  for (size_t i = 0; i < steps; ++i) {
    if (plan.steps[i].kind != StepKind::conv || plan.steps[i].inputs[0].ref.parameter) continue;
    const uint32_t x = plan.steps[i].inputs[0].ref.number;
    const size_t first = maker[x];
    if (first == steps || readers[x] != 1 || found.feeder[first] != first || !fit(first, i)) continue;
    found.runs_at[first] = i;
    found.feeder[i] = first;
  }
  return found;
}

}  // namespace tersenet
