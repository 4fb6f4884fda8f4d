// Sessions for Python: numpy arrays in, numpy arrays out. Opening and running hold no GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "tersenet/cpu.h"
#include "tersenet/runtime/session.h"

namespace nb = nanobind;

namespace tersenet {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using AnyArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

const char* numpy_name(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? "float32" : dtype == Dtype::kInt64 ? "int64" : "bool";
}

bool is_dtype(const AnyArray& array, int dtype) {
  return dtype == 0 ? array.dtype() == nb::dtype<float>() : dtype == 1 ? array.dtype() == nb::dtype<int64_t>() : array.dtype() == nb::dtype<bool>();
}

std::string shape_text(const std::vector<uint64_t>& sizes) {
  std::string text = "(batch";
  for (uint64_t size : sizes) text += ", " + str(size);
  return text + ")";
}

std::string shape_text(const AnyArray& array) {
  std::string text = "(";
  for (size_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + str(array.shape(i));
  return text + ")";
}

// The batch, once every array is what the session takes.
uint64_t checked_batch(const std::vector<GraphInput>& wanted, const std::vector<AnyArray>& arrays) {
  if (wanted.size() != arrays.size()) refuse(str(arrays.size()) + " arrays came; this network takes " + str(wanted.size()));
  uint64_t batch = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const AnyArray& array = arrays[i];
    bool fits = array.ndim() == wanted[i].shape.size() + 1;
    for (size_t k = 0; fits && k < wanted[i].shape.size(); ++k) fits = array.shape(k + 1) == wanted[i].shape[k];
    if (!fits) refuse("input '" + wanted[i].name + "' has shape " + shape_text(array) + "; expected " + shape_text(wanted[i].shape));
    if (!is_dtype(array, wanted[i].dtype)) refuse("input '" + wanted[i].name + "' must be " + kDtypeNames[wanted[i].dtype] + "; convert it with astype");
    if (i == 0) batch = array.shape(0);
    if (array.shape(0) != batch) refuse("input '" + wanted[i].name + "' has a batch of " + str(array.shape(0)) + "; the first input has " + str(batch));
  }
  return batch;
}

nb::list run(Session& session, const std::vector<AnyArray>& arrays) {
  const uint64_t batch = checked_batch(session.inputs(), arrays);
  static nb::object* empty = new nb::object(nb::module_::import_("numpy").attr("empty"));
  nb::list made;
  std::vector<void*> outputs;
  for (const Spec& spec : session.output_specs(batch)) {
    nb::list shape;
    for (int i = 0; i < spec.shape.ndim; ++i) shape.append(spec.shape.size[i]);
    nb::object array = (*empty)(nb::tuple(shape), numpy_name(spec.dtype));
    outputs.push_back(nb::cast<nb::ndarray<nb::c_contig, nb::device::cpu>>(array).data());
    made.append(std::move(array));
  }
  std::vector<const void*> inputs;
  for (const AnyArray& array : arrays) inputs.push_back(array.data());
  nb::gil_scoped_release release;
  session.run(inputs, batch, outputs);
  return made;
}

std::unique_ptr<Session> open(const Bytes& file, int threads, uint64_t max_bytes, size_t batch, bool int8,
                              const std::vector<std::pair<std::string, std::string>>& kernels) {
  SessionOptions options;
  options.threads = threads;
  options.max_bytes = max_bytes;
  options.batch = batch;
  options.int8 = int8;
  options.kernels = kernels;
  nb::gil_scoped_release release;
  return std::make_unique<Session>(file.data(), file.shape(0), options);
}

nb::list plan(Session& session, uint64_t batch, int rounds) {
  std::vector<PlanRow> rows;
  {
    nb::gil_scoped_release release;
    rows = session.plan(batch, rounds);
  }
  nb::list made;
  for (const PlanRow& row : rows) {
    nb::list tried;
    for (const Candidate& one : row.tried) tried.append(nb::make_tuple(one.name, one.bytes, one.time_us));
    made.append(nb::make_tuple(row.operation, row.weight, row.kernel, row.bytes, row.expected_us, row.measured_us, tried));
  }
  return made;
}

nb::list inputs(const Session& session) {
  nb::list made;
  for (const GraphInput& input : session.inputs()) {
    nb::list shape;
    for (uint64_t size : input.shape) shape.append(size);
    made.append(nb::make_tuple(input.name, kDtypeNames[input.dtype], nb::tuple(shape)));
  }
  return made;
}

nb::list outputs(Session& session, uint64_t batch) {
  nb::list made;
  const std::vector<std::string> names = session.output_names();
  const std::vector<Spec> specs = session.output_specs(batch);
  for (size_t i = 0; i < names.size(); ++i) {
    nb::list shape;
    for (int k = 0; k < specs[i].shape.ndim; ++k) shape.append(specs[i].shape.size[k]);
    made.append(nb::make_tuple(names[i], numpy_name(specs[i].dtype), nb::tuple(shape)));
  }
  return made;
}

}  // namespace
}  // namespace tersenet

void bind_runtime(nb::module_& m) {
  using namespace tersenet;
  using namespace nb::literals;
  nb::class_<Session>(m, "Session")
      .def("run", &run, "arrays"_a)
      .def("plan", &plan, "batch"_a, "rounds"_a)
      .def("inputs", &inputs)
      .def("outputs", &outputs, "batch"_a)
      .def("kernels", &Session::kernels)
      .def_prop_ro("weight_bytes", &Session::weight_bytes)
      .def_prop_ro("value_bytes", &Session::value_bytes)
      .def_prop_ro("threads", &Session::threads);
  m.def("open_session", &open, "file"_a, "threads"_a, "max_bytes"_a, "batch"_a, "int8"_a, "kernels"_a);
  m.def("operation_table", [] {
    nb::list rows;
    for (const OpInfo& op : all_ops()) {
      nb::list arguments;
      for (const OpArgument& one : op.arguments) {
        const std::string kind = one.kind == '*' ? "x*" : std::string(1, one.kind) + (one.maybe ? "?" : "");
        arguments.append(nb::make_tuple(one.name, kind, one.required, one.fallback));
      }
      rows.append(nb::make_tuple(op.code, op.name, arguments, op.outputs));
    }
    return rows;
  });
}
