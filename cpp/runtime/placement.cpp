#include "tersenet/runtime/placement.h"

#include <algorithm>
#include <cstring>

#include "rules.h"
#include "tersenet/runtime/arena.h"

namespace tersenet {
namespace {

constexpr size_t kNever = SIZE_MAX;

class Placing {
 public:
  Placing(const Graph& graph, const Plan& plan, const std::vector<size_t>& runs_at, const std::vector<Spec>& specs)
      : graph_(graph), plan_(plan), runs_at_(runs_at), specs_(specs), root_(graph.values), fixed_(graph.values, -1), made_(graph.values), host_(graph.values), offset_(graph.values, 0) {
    for (uint32_t v = 0; v < graph.values; ++v) root_[v] = host_[v] = v;
    found_.values.resize(graph.values);
    found_.done.resize(plan.steps.size());
    follow_aliases();
    join();
  }

  Placement run(uint64_t batch, uint64_t limit) {
    const std::vector<size_t> last = last_uses();
    const size_t steps = plan_.steps.size();
    std::vector<std::vector<uint32_t>> dying(steps + 1);
    std::vector<bool> placed(graph_.values);
    std::vector<uint64_t> start(graph_.values, 0);
    Arena arena;
    for (size_t i = 0; i < steps; ++i) {
      const Step& step = plan_.steps[i];
      const bool makes = step.kind != StepKind::alias && runs_at_[i] == i;
      for (uint32_t v = step.output; makes && v < step.output + step.outputs; ++v) {
        const uint32_t host = host_of(v);
        if (placed[host]) continue;
        placed[host] = true;
        start[host] = arena.place(bytes(host));
        if (arena.peak() > limit) refuse("a batch of " + str(batch) + " needs more than the " + str(limit) + " bytes that values may take; pass a larger max_bytes or a smaller batch");
        const size_t end = last[host] == kNever ? i : last[host];
        if (end < steps) dying[end].push_back(host);
      }
      for (uint32_t host : dying[i]) arena.free(start[host]);
    }
    for (uint32_t v = 0; v < graph_.values; ++v) {
      const uint32_t from = root_[v];
      Place& place = found_.values[v];
      if (fixed_[v] >= 0) place = {Place::parameter, uint64_t(fixed_[v])};
      else if (from < graph_.inputs.size()) place = {Place::input, from};
      else place = {Place::block, start[host_of(from)] + offset_in_host(from)};
    }
    found_.block_bytes = arena.peak();
    return std::move(found_);
  }

 private:
  const Graph& graph_;
  const Plan& plan_;
  const std::vector<size_t>& runs_at_;
  const std::vector<Spec>& specs_;
  std::vector<uint32_t> root_;    // of an alias: the value whose bytes it is
  std::vector<int64_t> fixed_;    // the parameter whose bytes it is, or -1
  std::vector<bool> made_;        // by a step that is no alias
  std::vector<uint32_t> host_;    // the value that it is a part of, itself at the top
  std::vector<uint64_t> offset_;  // in its host
  Placement found_;

  uint64_t bytes(uint32_t v) const { return checked_numel(specs_[v].shape) * item_bytes(specs_[v].dtype); }

  uint32_t host_of(uint32_t v) const {
    while (host_[v] != v) v = host_[v];
    return v;
  }

  uint64_t offset_in_host(uint32_t v) const {
    uint64_t sum = 0;
    for (; host_[v] != v; v = host_[v]) sum += offset_[v];
    return sum;
  }

  void follow_aliases() {
    for (const Step& step : plan_.steps) {
      if (step.kind != StepKind::alias) {
        for (uint32_t v = step.output; v < step.output + step.outputs; ++v) made_[v] = true;
        continue;
      }
      const TensorRef from = step.inputs[0].ref;
      if (from.parameter) {
        fixed_[step.output] = from.number;
      } else {
        root_[step.output] = root_[from.number];
        fixed_[step.output] = fixed_[root_[from.number]];
      }
    }
  }

  // A value has one place: where it is joined twice, the first one has it.
  void join() {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      if (step.kind != StepKind::rule || step.node->op->name != "cat") continue;
      const Dims& shape = specs_[step.output].shape;
      if (span(shape, 0, axis_of(step.node->integer("dim"), shape.ndim)) != 1) continue;
      std::vector<uint32_t> parts;
      bool fits = true;
      for (const Node::Slot& slot : step.inputs) {
        if (!slot.present) continue;
        const uint32_t part = slot.ref.parameter ? 0 : root_[slot.ref.number];
        fits = fits && !slot.ref.parameter && fixed_[part] < 0 && made_[part] && host_[part] == part && bytes(part) && std::find(parts.begin(), parts.end(), part) == parts.end();
        parts.push_back(part);
      }
      if (!fits) continue;
      uint64_t at = 0;
      for (uint32_t part : parts) {
        host_[part] = step.output;
        offset_[part] = at;
        at += bytes(part);
      }
      found_.done[i] = true;
    }
  }

  // By host: the last step that reads it or a part of it.
  std::vector<size_t> last_uses() const {
    std::vector<size_t> last(graph_.values, kNever);
    const auto use = [&](uint32_t value, size_t step) {
      size_t& found = last[host_of(root_[value])];
      found = found == kNever ? step : std::max(found, step);
    };
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      for (const Node::Slot& slot : step.inputs) {
        if (slot.present && !slot.ref.parameter) use(slot.ref.number, runs_at_[i]);
      }
      if (step.add && !step.residual.parameter) use(step.residual.number, runs_at_[i]);
      if (step.kind != StepKind::alias) use(step.output, i);
    }
    for (const GraphOutput& output : graph_.outputs) use(output.value, plan_.steps.size());
    return last;
  }
};

}  // namespace

Placement place_values(const Graph& graph, const Plan& plan, const std::vector<size_t>& runs_at, const std::vector<Spec>& specs, uint64_t batch, uint64_t limit) {
  return Placing(graph, plan, runs_at, specs).run(batch, limit);
}

}  // namespace tersenet
