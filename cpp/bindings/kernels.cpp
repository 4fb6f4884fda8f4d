// Kernels one by one, for tests and benchmarks: a matrix from numpy arrays, and every run form that fits it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "tersenet/cpu.h"
#include "tersenet/runtime/layer.h"

namespace nb = nanobind;

namespace tersenet {
namespace {

template <class T>
using Array1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<float, nb::c_contig, nb::device::cpu>;

template <class T>
std::vector<T> vector_of(const std::optional<Array1<T>>& array) {
  return array ? std::vector<T>(array->data(), array->data() + array->shape(0)) : std::vector<T>();
}

template <class T>
BulkVector<T> bulk_of(const std::optional<Array1<T>>& array) {
  return array ? BulkVector<T>(array->data(), array->data() + array->shape(0)) : BulkVector<T>();
}

// Holds what matrix.h promises, or refuses.
Matrix checked(uint32_t rows, uint32_t cols, const std::optional<Array1<uint32_t>>& row_start, const std::optional<Array1<uint32_t>>& col,
               const std::optional<Array1<float>>& codebook, const std::optional<Array1<uint16_t>>& code, const std::optional<Array1<float>>& value,
               const std::optional<Array1<float>>& step, const std::optional<Array1<float>>& zero, bool by_column) {
  Matrix matrix;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.sparse = row_start.has_value();
  matrix.row_start = vector_of(row_start);
  matrix.col = bulk_of(col);
  matrix.codebook = vector_of(codebook);
  matrix.code = bulk_of(code);
  matrix.value = vector_of(value);
  matrix.step = vector_of(step);
  matrix.zero = vector_of(zero);
  matrix.by_column = by_column;
  if (rows == 0 || cols == 0 || uint64_t(rows) * cols >= uint64_t(1) << 31) refuse("a matrix has at least one element and fewer than 2^31");
  if (matrix.codebook.size() > 65536 || matrix.shared() == value.has_value() || matrix.shared() != code.has_value()) refuse("give codebook and code, or value");
  for (uint16_t one : matrix.code) {
    if (one >= matrix.codebook.size()) refuse("a code of " + str(one) + " into a codebook of " + str(matrix.codebook.size()));
  }
  if (matrix.stepped() || zero || by_column) {
    const size_t run = matrix.stepped() && matrix.entries() % matrix.step.size() == 0 ? matrix.run() : 0;
    const bool fits = !matrix.sparse && matrix.shared() && run && (by_column ? matrix.step.size() == cols : run % cols == 0 || cols % run == 0);
    if (!fits || matrix.zero.size() != matrix.step.size()) refuse("steps and zeros are those of equal runs of a dense matrix with a codebook");
  }
  if (!matrix.sparse) {
    if (matrix.entries() != size_t(rows) * cols) refuse("a dense matrix has an entry for each place");
    return matrix;
  }
  const std::vector<uint32_t>& start = matrix.row_start;
  if (start.size() != size_t(rows) + 1 || start[0] != 0 || start[rows] != matrix.entries() || matrix.col.size() != matrix.entries()) refuse("row_start, col and the values do not fit together");
  for (uint32_t r = 0; r < rows; ++r) {
    if (start[r] > start[r + 1] || start[r + 1] > matrix.entries()) refuse("row_start does not ascend");
    for (uint32_t e = start[r]; e < start[r + 1]; ++e) {
      if (matrix.col[e] >= cols || (e > start[r] && matrix.col[e] <= matrix.col[e - 1])) refuse("columns must ascend inside a row");
    }
  }
  return matrix;
}

const float* floats(const std::optional<Floats>& array, size_t size, const char* what) {
  if (!array) return nullptr;
  if (array->size() != size) refuse(std::string(what) + " has " + str(array->size()) + " entries; expected " + str(size));
  return array->data();
}

Epilogue epilogue_of(const std::optional<Floats>& scale, const std::optional<Floats>& shift, const std::optional<Floats>& residual, const std::string& activation,
                     float low, float high, size_t rows, size_t y_size) {
  Epilogue epilogue;
  epilogue.scale = floats(scale, rows, "scale");
  epilogue.shift = floats(shift, rows, "shift");
  epilogue.residual = floats(residual, y_size, "residual");
  epilogue.activation = activation == "clamp" ? Activation::clamp : activation == "leaky" ? Activation::leaky : Activation::none;
  epilogue.low = low;
  epilogue.high = high;
  return epilogue;
}

void need(bool fits, const char* sentence) {
  if (!fits) refuse(sentence);
}

// A kernel with the sizes of what it takes and gives, for one example.
template <class Kernel>
struct Runner {
  std::unique_ptr<Kernel> kernel;
  std::shared_ptr<Pool> pool;
  size_t rows, x_size, y_size;

  void run(const Floats& x, const Out& y, size_t batch, const std::optional<Floats>& scale, const std::optional<Floats>& shift,
           const std::optional<Floats>& residual, const std::string& activation, float low, float high) const {
    need(x.size() == batch * x_size && y.size() == batch * y_size, "x or y does not have the batch's size");
    const Epilogue epilogue = epilogue_of(scale, shift, residual, activation, low, high, rows, batch * y_size);
    nb::gil_scoped_release release;
    kernel->run(x.data(), batch, epilogue, y.data(), *pool);
  }
};

using LinearRunner = Runner<LinearKernel>;
using ConvRunner = Runner<ConvKernel>;

template <class Kernel>
void bind_runner(nb::module_& m, const char* name) {
  using namespace nb::literals;
  using R = Runner<Kernel>;
  nb::class_<R>(m, name)
      .def_prop_ro("name", [](const R& r) { return r.kernel->name(); })
      .def_prop_ro("bytes", [](const R& r) { return r.kernel->bytes(); })
      .def("run", &R::run, "x"_a, "y"_a.noconvert(), "batch"_a, "scale"_a = nb::none(), "shift"_a = nb::none(), "residual"_a = nb::none(),
           "activation"_a = "none", "low"_a = 0.0f, "high"_a = 0.0f);
}

using MaybeIndex = std::optional<Array1<uint32_t>>;
using MaybeFloats = std::optional<Array1<float>>;
using MaybeCodes = std::optional<Array1<uint16_t>>;

std::vector<std::shared_ptr<LinearRunner>> linear_kernels(uint32_t rows, uint32_t cols, const MaybeIndex& row_start, const MaybeIndex& col, const MaybeFloats& codebook,
                                                          const MaybeCodes& code, const MaybeFloats& value, int threads, bool int8, bool signs, const MaybeFloats& step, const MaybeFloats& zero, bool by_column) {
  const Matrix matrix = checked(rows, cols, row_start, col, codebook, code, value, step, zero, by_column);
  LinearKernels found;
  const auto pool = std::make_shared<Pool>(threads);
  const KernelRequest request{cpu_chosen(), {}, {}, signs, pool.get()};
  add_binary_kernels(matrix, request, found);
  add_codes_kernels(matrix, request, found);
  add_sparse_kernels(matrix, request, found);
  add_dense_kernels(matrix, request, found);
  if (int8) add_int8_kernels(matrix, request, found);
  std::vector<std::shared_ptr<LinearRunner>> made;
  for (auto& kernel : found) made.push_back(std::make_shared<LinearRunner>(LinearRunner{std::move(kernel), pool, rows, cols, rows}));
  return made;
}

uint32_t conv_out(uint32_t in, uint32_t before, uint32_t after, uint32_t kernel, uint32_t dilation, uint32_t stride) {
  need(kernel && dilation && stride && in && uint64_t(in) + before + after >= uint64_t(dilation) * (kernel - 1) + 1, "the kernel does not fit the image");
  return (in + before + after - dilation * (kernel - 1) - 1) / stride + 1;
}

// sizes: in_channels, out_channels, groups, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, pad_bottom, pad_right, in_h, in_w
std::vector<std::shared_ptr<ConvRunner>> conv_kernels(const std::vector<uint32_t>& sizes, const MaybeIndex& row_start, const MaybeIndex& col, const MaybeFloats& codebook,
                                                      const MaybeCodes& code, const MaybeFloats& value, int threads, bool int8, const MaybeFloats& step, const MaybeFloats& zero, bool by_column) {
  need(sizes.size() == 15, "a convolution has 15 sizes");
  for (uint32_t size : sizes) need(size < 1 << 15, "a convolution's sizes are below 2^15 here");
  ConvShape s{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7], sizes[8], sizes[9], sizes[10], sizes[11], sizes[12], sizes[13], sizes[14], 0, 0};
  need(s.groups && s.in_channels && s.out_channels && s.in_channels % s.groups == 0 && s.out_channels % s.groups == 0, "channels fall into groups");
  s.out_h = conv_out(s.in_h, s.pad_top, s.pad_bottom, s.kernel_h, s.dilation_h, s.stride_h);
  s.out_w = conv_out(s.in_w, s.pad_left, s.pad_right, s.kernel_w, s.dilation_w, s.stride_w);
  const size_t x_size = size_t(s.in_channels) * s.in_h * s.in_w, y_size = size_t(s.out_channels) * s.out_h * s.out_w;
  const Matrix matrix = checked(s.out_channels, s.in_channels / s.groups * s.kernel_h * s.kernel_w, row_start, col, codebook, code, value, step, zero, by_column);
  ConvKernels found;
  const KernelRequest request{cpu_chosen(), {}};
  add_codes_kernels(matrix, s, request, found);
  add_sparse_kernels(matrix, s, request, found);
  add_dense_kernels(matrix, s, request, found);
  if (int8) add_int8_kernels(matrix, s, request, found);
  const auto pool = std::make_shared<Pool>(threads);
  std::vector<std::shared_ptr<ConvRunner>> made;
  for (auto& kernel : found) made.push_back(std::make_shared<ConvRunner>(ConvRunner{std::move(kernel), pool, s.out_channels, x_size, y_size}));
  return made;
}

}  // namespace
}  // namespace tersenet

void bind_kernels(nb::module_& m) {
  using namespace tersenet;
  using namespace nb::literals;
  bind_runner<LinearKernel>(m, "LinearRunner");
  bind_runner<ConvKernel>(m, "ConvRunner");
  m.def("linear_kernels", &linear_kernels, "rows"_a, "cols"_a, "row_start"_a.none(), "col"_a.none(), "codebook"_a.none(), "code"_a.none(), "value"_a.none(), "threads"_a = 1, "int8"_a = false, "signs"_a = false,
        "step"_a = nb::none(), "zero"_a = nb::none(), "by_column"_a = false);
  m.def("conv_kernels", &conv_kernels, "sizes"_a, "row_start"_a.none(), "col"_a.none(), "codebook"_a.none(), "code"_a.none(), "value"_a.none(), "threads"_a = 1, "int8"_a = false,
        "step"_a = nb::none(), "zero"_a = nb::none(), "by_column"_a = false);
}
