#include "tersenet/runtime/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "tersenet/coder_columns.h"
#include "tersenet/cpu.h"
#include "tersenet/runtime/conv_pair.h"
#include "tersenet/runtime/folding.h"
#include "tersenet/runtime/lstm.h"
#include "tersenet/runtime/pairs.h"
#include "tersenet/runtime/placement.h"
#include "tersenet/runtime/shapes.h"
#include "tersenet/runtime/weights.h"
#include "thread_trial.h"

namespace tersenet {
namespace {

constexpr uint64_t kDefaultValueBytes = uint64_t(16) << 30;
constexpr uint64_t kDefaultOpenBytes = uint64_t(1) << 30;  // of one value, for each example that kernels are chosen with
constexpr uint64_t kPlanningBatch = 2;  // so that a size of 1 that is to be broadcast shows
using Clock = std::chrono::steady_clock;

// A stored tensor that rules read: dense, in the dtype that they see.
struct Constant {
  Tensor tensor;
  AlignedBytes bytes;
};

Dtype value_dtype(int dtype) {
  const std::string name = kDtypeNames[dtype];
  return name == "bool" ? Dtype::kBool : name.find("float") != std::string::npos ? Dtype::kFloat32 : Dtype::kInt64;
}

// What one step needs beside the values it reads.
struct StepState {
  std::unique_ptr<LinearKernel> linear, hidden;  // hidden: an LSTM cell's weight of its state
  std::unique_ptr<ConvKernel> conv;
  ConvShape shape{};
  Folded folded;
  AlignedVector<float> hidden_shift;
  std::vector<Candidate> tried;
  double expected_us = 0;
  std::vector<double> times_us;
  // Settled for a batch.
  Tensors inputs;
  std::vector<Tensor*> outputs;
};

}  // namespace

struct Session::Inside {
  Graph graph;
  Plan plan;
  SessionOptions options;
  Cpu cpu = Cpu::scalar;
  std::unique_ptr<Pool> pool;
  ThreadTrial trial;  // of `batch`
  std::vector<Spec> parameters;
  std::vector<std::unique_ptr<Constant>> constants;  // by parameter; null where no rule reads it
  std::vector<StepState> states;
  std::mutex mutex;
  uint64_t batch = 0;  // the one that `values` and `block` are settled for
  std::vector<Tensor> values;
  std::vector<int64_t> external;  // by value: the input whose bytes it is, or -1
  AlignedBytes block;
  uint64_t value_limit = 0;
  std::vector<bool> done;  // by step: nothing left to do
  Pairs pairs;
  bool timing = false;

  void open(const uint8_t* data, size_t size) {
    cpu = cpu_chosen();
    const uint64_t limit = options.max_bytes ? options.max_bytes : default_limit(size);
    value_limit = options.max_bytes ? options.max_bytes : kDefaultValueBytes;
    TerseFile file = read_terse(data, size, limit);
    graph = std::move(file.graph);
    const std::vector<std::string> missing = missing_operations(graph);
    if (!missing.empty()) {
      std::string names;
      for (const std::string& name : missing) names += (names.empty() ? "" : ", ") + name;
      refuse("the runtime has no kernel for " + names + "; tersenet.load runs this file with torch");
    }
    for (size_t i = 0; i < graph.parameters.size(); ++i) {
      parameters.push_back({value_dtype(graph.parameters[i].dtype), file.tensors[i].top().shape});
    }
    plan = make_plan(graph, infer_values(graph, parameters, kPlanningBatch), parameters);
    pool = std::make_unique<Pool>(options.threads);
    constants.resize(graph.parameters.size());
    states.resize(plan.steps.size());
    const std::vector<Spec> specs = infer_values(graph, parameters, options.batch);
    const uint64_t most = open_limit();
    for (const Spec& spec : specs) {
      if (checked_numel(spec.shape) > most / item_bytes(spec.dtype)) refuse("a value of " + str(checked_numel(spec.shape)) + " elements, above the limit of " + str(most) + " bytes; pass a larger max_bytes if the file is trusted");
    }
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      try {
        prepare(plan.steps[i], states[i], file, specs);
      } catch (const std::invalid_argument& error) {
        refuse(plan.steps[i].node->op->name + " number " + str(i) + ": " + error.what());
      }
    }
    pairs = find_pairs(graph, plan, [&](size_t first, size_t second) { return make_a_pair(*states[first].conv, states[first].shape, *states[second].conv, states[second].shape); });
  }

  // What one value may take while kernels are chosen.
  uint64_t open_limit() const { return options.max_bytes ? options.max_bytes : kDefaultOpenBytes * std::min<uint64_t>(options.batch, 1 << 20); }

  // ---- opening

  const TensorRef& weight_ref(const Step& step, size_t slot) const {
    const Node::Slot& found = step.inputs[slot];
    if (!found.present || !found.ref.parameter) refuse("its weight is computed, not stored; tersenet.load runs this file with torch");
    return found.ref;
  }

  Matrix matrix(const TerseFile& file, uint32_t parameter) const {
    const StorageTree& tree = file.tensors[parameter];
    const Dims& shape = tree.top().shape;
    const uint64_t rows = shape.size[0], numel = tree.top().numel;
    if (numel == 0 || numel >= uint64_t(1) << 31) refuse("a weight of " + str(numel) + " elements");
    return matrix_of(tree, coder_kernels(), uint32_t(rows), uint32_t(numel / rows), *pool);
  }

  std::vector<float> floats(const TerseFile& file, const Node::Slot& slot) const {
    if (!slot.present) return {};
    if (!slot.ref.parameter) refuse("its bias is computed, not stored; tersenet.load runs this file with torch");
    const StorageTree& tree = file.tensors[slot.ref.number];
    std::vector<float> found(size_t(tree.top().numel));
    StorageDecoder(tree, coder_kernels()).run(found.data());
    return found;
  }

  const Tensor& constant(const TerseFile& file, uint32_t parameter) {
    std::unique_ptr<Constant>& made = constants[parameter];
    if (made) return made->tensor;
    made = std::make_unique<Constant>();
    const StorageTree& tree = file.tensors[parameter];
    const StorageNode& top = tree.top();
    const Dtype dtype = parameters[parameter].dtype;
    AlignedBytes stored(size_t(top.bytes()));
    std::memset(stored.data(), 0, stored.size());
    StorageDecoder(tree, coder_kernels()).run(stored.data());
    if (dtype == Dtype::kFloat32) {
      made->bytes = std::move(stored);
    } else {
      made->bytes = AlignedBytes(size_t(top.numel) * item_bytes(dtype));
      with_item(top.item, [&](auto t) {
        const auto* from = reinterpret_cast<const decltype(t)*>(stored.data());
        for (uint64_t i = 0; i < top.numel; ++i) {
          if (dtype == Dtype::kBool) {
            made->bytes.data()[i] = from[i] != 0;
          } else {
            reinterpret_cast<int64_t*>(made->bytes.data())[i] = int64_t(from[i]);
          }
        }
      });
    }
    made->tensor = {parameters[parameter], made->bytes.data()};
    return made->tensor;
  }

  ChooseOptions choose_options(uint32_t parameter, size_t batch_size) const {
    ChooseOptions found;
    found.cpu = cpu;
    found.batch = batch_size;
    found.int8 = options.int8;
    for (const auto& [weight, kernel] : options.kernels) {
      if (weight == graph.parameters[parameter].name) found.wanted = kernel;
    }
    return found;
  }

  template <class Kernel>
  static std::unique_ptr<Kernel> keep(Choice<Kernel> choice, StepState& state, const std::string& wanted) {
    if (!choice.kernel) refuse("no kernel fits" + (wanted.empty() ? std::string() : " that is named '" + wanted + "'"));
    double best = 0;
    for (const Candidate& one : choice.tried) {
      if (one.name == choice.kernel->name()) best = one.time_us;
    }
    state.expected_us += best;
    state.tried.insert(state.tried.end(), choice.tried.begin(), choice.tried.end());
    return std::move(choice.kernel);
  }

  std::unique_ptr<LinearKernel> linear_kernel(const TerseFile& file, uint32_t parameter, uint64_t rows_of_x, StepState& state, const std::optional<Int8Range>& range = {}, bool signs = false) {
    ChooseOptions chosen = choose_options(parameter, size_t(rows_of_x));
    chosen.range = range;
    chosen.signs = signs;
    Choice<LinearKernel> choice = choose_linear(matrix(file, parameter), chosen, *pool);
    return keep(std::move(choice), state, chosen.wanted);
  }

  // How the bytes of a value are fixed by the fake_quantize that gave it, none where they are not: levels from 0 up, or
  // from -128 up, as kernels/int8.h has them.
  std::optional<Int8Range> fixed_range(TensorRef ref) const {
    while (!ref.parameter && ref.number >= graph.inputs.size()) {
      // Nodes come in the order of their outputs.
      const Node& node = *std::prev(std::upper_bound(graph.nodes.begin(), graph.nodes.end(), ref.number, [](uint32_t value, const Node& one) { return value < one.first_output; }));
      if (node.op->name == "fake_quantize") {
        const int64_t low = node.integer("quant_min"), high = node.integer("quant_max");
        const float scale = float(node.number("scale"));
        const int zero = low < 0 ? 128 : 0;
        if (node.integer("zero_point") != 0 || low < -zero || high > 255 - zero) return {};
        return Int8Range{scale, 1.0f / scale, zero};
      }
      const Rule* rule = find_rule(node.op->code);
      if (!rule || !rule->alias) return {};
      ref = node.tensors()[0].ref;
    }
    return {};
  }

  void prepare(const Step& step, StepState& state, const TerseFile& file, const std::vector<Spec>& specs) {
    if (step.kind == StepKind::rule || step.kind == StepKind::alias) {
      for (const Node::Slot& slot : step.inputs) {
        if (slot.present && slot.ref.parameter) constant(file, slot.ref.number);
      }
      return;
    }
    if (step.kind == StepKind::lstm_cell) {
      const uint64_t rows = specs[step.output].shape.size[0];
      state.linear = linear_kernel(file, weight_ref(step, 3).number, rows, state);
      state.hidden = linear_kernel(file, weight_ref(step, 4).number, rows, state);
      state.folded.shift = aligned(floats(file, step.inputs[5]));
      state.hidden_shift = aligned(floats(file, step.inputs[6]));
      for (size_t slot : {0, 1, 2}) {
        if (step.inputs[slot].ref.parameter) constant(file, step.inputs[slot].ref.number);
      }
      return;
    }
    const TensorRef weight = weight_ref(step, 1);
    if (step.inputs[0].ref.parameter) constant(file, step.inputs[0].ref.number);
    const Spec& x = spec_of(step.inputs[0].ref, specs);
    if (step.kind == StepKind::linear) {
      state.linear = linear_kernel(file, weight.number, vectors(step, x), state, fixed_range(step.inputs[0].ref), step.signs);
    } else {
      state.shape = shape_of_conv(step, x, parameters[weight.number]);
      check_images(state.shape, x.shape.size[0], open_limit());
      ChooseOptions chosen = choose_options(weight.number, size_t(x.shape.size[0]));
      chosen.range = fixed_range(step.inputs[0].ref);
      Choice<ConvKernel> choice = choose_conv(matrix(file, weight.number), state.shape, chosen, *pool);
      state.conv = keep(std::move(choice), state, chosen.wanted);
    }
    state.folded = fold_rows(step, floats(file, step.inputs[2]), parameters[weight.number].shape.size[0], [&](const Node::Slot& slot) { return floats(file, slot); });
  }

  const Spec& spec_of(const TensorRef& ref, const std::vector<Spec>& specs) const {
    return ref.parameter ? parameters[ref.number] : specs[ref.number];
  }

  // How many vectors a linear step multiplies.
  uint64_t vectors(const Step& step, const Spec& x) const {
    const Dims& weight = parameters[step.inputs[1].ref.number].shape;
    return checked_numel(x.shape) / (checked_numel(weight) / weight.size[0]);
  }

  // ---- settling a batch

  void settle(uint64_t wanted) {
    if (batch == wanted && !values.empty()) return;
    values.clear();  // a refusal on the way leaves nothing half settled
    const std::vector<Spec> specs = infer_values(graph, parameters, wanted);
    const size_t steps = plan.steps.size();
    for (size_t i = 0; i < steps; ++i) check_step(plan.steps[i], states[i], specs);

    const Placement placement = place_values(graph, plan, pairs.runs_at, specs, wanted, value_limit);
    if (block.size() < placement.block_bytes) {
      block = AlignedBytes();  // before the new one: never both
      block = AlignedBytes(size_t(placement.block_bytes));
    }
    external.assign(graph.values, -1);
    std::vector<Tensor> found(graph.values);
    for (uint32_t v = 0; v < graph.values; ++v) {
      const Place& place = placement.values[v];
      found[v].spec = specs[v];
      if (place.kind == Place::input) external[v] = int64_t(place.at);
      else found[v].data = place.kind == Place::parameter ? constants[place.at]->tensor.data : block.data() + place.at;
    }
    values = std::move(found);
    done = placement.done;
    for (size_t i = 0; i < steps; ++i) bind(plan.steps[i], states[i]);
    batch = wanted;
    trial.begin(*pool);
  }

  void check_step(const Step& step, const StepState& state, const std::vector<Spec>& specs) const {
    if (step.kind == StepKind::conv) {
      const ConvShape now = shape_of_conv(step, spec_of(step.inputs[0].ref, specs), parameters[step.inputs[1].ref.number]);
      if (std::memcmp(&now, &state.shape, sizeof now) != 0) refuse("a convolution's image would change its size with the batch");
      check_images(now, specs[step.output].shape.size[0], value_limit);
    }
    if (step.add && !(spec_of(step.residual, specs).shape == specs[step.output].shape)) refuse("an addition would broadcast at this batch only");
  }

  void bind(const Step& step, StepState& state) {
    state.inputs.clear();
    state.outputs.clear();
    for (const Node::Slot& slot : step.inputs) {
      const bool held = slot.present && (!slot.ref.parameter || constants[slot.ref.number]);
      state.inputs.push_back(!held ? nullptr : slot.ref.parameter ? &constants[slot.ref.number]->tensor : &values[slot.ref.number]);
    }
    for (uint32_t k = 0; k < step.outputs; ++k) state.outputs.push_back(&values[step.output + k]);
  }

  // ---- running

  void run_steps() {
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      if (plan.steps[i].kind == StepKind::alias || done[i] || pairs.runs_at[i] != i) continue;
      if (!timing) {
        run_step(i);
        continue;
      }
      const Clock::time_point start = Clock::now();
      run_step(i);
      states[i].times_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    }
  }

  Epilogue epilogue_of(const Step& step, const StepState& state) const {
    Epilogue epilogue;
    if (state.folded.scale.size()) epilogue.scale = state.folded.scale.data();
    if (state.folded.shift.size()) epilogue.shift = state.folded.shift.data();
    if (step.add) epilogue.residual = values[step.residual.number].f32();
    epilogue.activation = step.act;
    epilogue.low = step.low;
    epilogue.high = step.high;
    return epilogue;
  }

  void run_step(size_t i) {
    const Step& step = plan.steps[i];
    StepState& state = states[i];
    const Tensor* x = state.inputs[0];
    if (step.kind == StepKind::rule) {
      find_rule(step.node->op->code)->run(*step.node, state.inputs, state.outputs, *pool);
      return;
    }
    if (step.kind == StepKind::lstm_cell) {
      run_lstm_cell(*state.linear, *state.hidden, state.folded.shift, state.hidden_shift, state.inputs, state.outputs, *pool);
      return;
    }
    const Epilogue epilogue = epilogue_of(step, state);
    float* y = state.outputs[0]->f32();
    const Dims& shape = x->spec.shape;
    if (pairs.feeder[i] != i) {
      const StepState& first = states[pairs.feeder[i]];
      const Tensor& image = *first.inputs[0];
      run_pair({*first.conv, first.shape, epilogue_of(plan.steps[pairs.feeder[i]], first)}, {*state.conv, state.shape, epilogue}, image.f32(), size_t(image.spec.shape.size[0]), y, *pool);
    } else if (step.kind == StepKind::conv) {
      state.conv->run(x->f32(), size_t(shape.size[0]), epilogue, y, *pool);
    } else {
      state.linear->run(x->f32(), size_t(vectors(step, x->spec)), epilogue, y, *pool);
    }
  }
};

Session::Session(const uint8_t* file, size_t size, const SessionOptions& options) : inside_(std::make_unique<Inside>()) {
  inside_->options = options;
  inside_->options.threads = std::max(options.threads, 1);
  inside_->options.batch = std::max<size_t>(options.batch, 1);
  inside_->open(file, size);
}

Session::~Session() = default;

const std::vector<GraphInput>& Session::inputs() const { return inside_->graph.inputs; }

std::vector<std::string> Session::output_names() const {
  std::vector<std::string> names;
  for (const GraphOutput& output : inside_->graph.outputs) names.push_back(output.name);
  return names;
}

std::vector<Spec> Session::output_specs(uint64_t batch) {
  std::lock_guard<std::mutex> lock(inside_->mutex);
  inside_->settle(batch);
  std::vector<Spec> specs;
  for (const GraphOutput& output : inside_->graph.outputs) specs.push_back(inside_->values[output.value].spec);
  return specs;
}

void Session::run(const std::vector<const void*>& inputs, uint64_t batch, const std::vector<void*>& outputs) {
  std::lock_guard<std::mutex> lock(inside_->mutex);
  Inside& inside = *inside_;
  inside.settle(batch);
  for (size_t v = 0; v < inside.values.size(); ++v) {
    if (inside.external[v] >= 0) inside.values[v].data = const_cast<void*>(inputs[size_t(inside.external[v])]);
  }
  if (inside.timing) inside.run_steps();
  else inside.trial.run(*inside.pool, [&] { inside.run_steps(); });
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& from = inside.values[inside.graph.outputs[i].value];
    const uint64_t bytes = checked_numel(from.spec.shape) * item_bytes(from.spec.dtype);
    if (bytes) std::memcpy(outputs[i], from.data, size_t(bytes));
  }
}

std::vector<PlanRow> Session::plan(uint64_t batch, int rounds) {
  std::vector<AlignedVector<uint8_t>> blank;
  std::vector<const void*> inputs;
  {
    std::lock_guard<std::mutex> lock(inside_->mutex);
    inside_->settle(batch);
    for (size_t i = 0; i < inside_->graph.inputs.size(); ++i) {
      const Spec& spec = inside_->values[i].spec;
      blank.emplace_back(size_t(checked_numel(spec.shape) * item_bytes(spec.dtype)));
      inputs.push_back(blank.back().data());
    }
    for (StepState& state : inside_->states) state.times_us.clear();
    inside_->timing = true;
  }
  for (int round = 0; round < rounds; ++round) run(inputs, batch, {});
  std::lock_guard<std::mutex> lock(inside_->mutex);
  inside_->timing = false;
  std::vector<PlanRow> rows;
  for (size_t i = 0; i < inside_->plan.steps.size(); ++i) {
    const Step& step = inside_->plan.steps[i];
    const StepState& state = inside_->states[i];
    if (step.kind == StepKind::alias) continue;
    PlanRow row;
    row.operation = step.node->op->name;
    if (step.pad) row.operation = "pad + " + row.operation;
    for (const Node* taken : {step.scale, step.shift, step.norm, step.add, step.activation}) {
      if (taken) row.operation += " + " + taken->op->name;
    }
    if (inside_->pairs.runs_at[i] != i) row.operation += " (inside the next)";
    if (state.linear || state.conv) {
      const size_t slot = step.kind == StepKind::lstm_cell ? 3 : 1;
      row.weight = inside_->graph.parameters[step.inputs[slot].ref.number].name;
      row.kernel = state.linear ? state.linear->name() : state.conv->name();
      row.bytes = (state.linear ? state.linear->bytes() : state.conv->bytes()) + (state.hidden ? state.hidden->bytes() : 0);
    }
    row.bytes += state.folded.bytes() + state.hidden_shift.size_bytes();
    row.expected_us = state.expected_us;
    row.tried = state.tried;
    std::vector<double> times = state.times_us;
    std::sort(times.begin(), times.end());
    if (!times.empty()) row.measured_us = times[times.size() / 2];
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<std::pair<std::string, std::string>> Session::kernels() const {
  std::vector<std::pair<std::string, std::string>> found;
  for (size_t i = 0; i < inside_->plan.steps.size(); ++i) {
    const Step& step = inside_->plan.steps[i];
    const StepState& state = inside_->states[i];
    const auto add = [&](size_t slot, const char* kernel) {
      found.emplace_back(inside_->graph.parameters[step.inputs[slot].ref.number].name, kernel);
    };
    if (state.conv) add(1, state.conv->name());
    if (state.linear) add(step.kind == StepKind::lstm_cell ? 3 : 1, state.linear->name());
    if (state.hidden) add(4, state.hidden->name());
  }
  return found;
}

uint64_t Session::weight_bytes() const {
  uint64_t sum = 0;
  for (const std::unique_ptr<Constant>& constant : inside_->constants) sum += constant ? constant->bytes.size() : 0;
  for (const StepState& state : inside_->states) {
    sum += state.folded.bytes() + state.hidden_shift.size_bytes();
    if (state.linear) sum += state.linear->bytes();
    if (state.hidden) sum += state.hidden->bytes();
    if (state.conv) sum += state.conv->bytes();
  }
  return sum;
}

uint64_t Session::value_bytes() const { return inside_->block.size() + inside_->pool->scratch_bytes(); }

int Session::threads() const { return inside_->pool->threads(); }

}  // namespace tersenet
