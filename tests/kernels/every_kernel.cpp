// every_kernel.cpp - every kernel of a linear layer that this machine has, in every column, against sums in double precision,
// and those on integers, convolutions among them, bit against bit, and codes of one byte against floats: for machines without
// Python, emulated ones, and sanitizers. Built by tests/runtime/test_c_api.py.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <set>

#include "tersenet/runtime/layer.h"

using namespace tersenet;

namespace {

enum class Sort { free, sparse, largest, codebook, signs, grid, columns };

Matrix matrix_of(Sort sort, uint32_t rows, uint32_t cols, uint32_t values, uint32_t per, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Matrix m;
  m.rows = rows;
  m.cols = cols;
  const size_t count = size_t(rows) * cols;
  if (sort == Sort::free) {
    for (size_t e = 0; e < count; ++e) m.value.push_back(normal(random));
    return m;
  }
  if (sort == Sort::largest) {  // 127 and -127 and a 1, in every column
    m.sparse = true;
    for (uint32_t r = 0; r <= rows; ++r) m.row_start.push_back(r * cols);
    for (size_t e = 0; e < count; ++e) {
      m.col.push_back(uint32_t(e % cols));
      m.value.push_back(e % cols == 0 ? 1.0f : e / cols % 2 ? -127.0f : 127.0f);
    }
    return m;
  }
  for (uint32_t k = 0; k < values; ++k) m.codebook.push_back(sort == Sort::grid || sort == Sort::columns ? float(k) : normal(random));
  if (sort == Sort::signs) m.codebook = {0, 2};
  if (sort == Sort::sparse) m.sparse = true;
  for (uint32_t r = 0; r < rows; ++r) {
    if (m.sparse) m.row_start.push_back(uint32_t(m.code.size()));
    for (uint32_t c = 0; c < cols; ++c) {
      if (m.sparse && random() % 5) continue;
      if (m.sparse) m.col.push_back(c);
      m.code.push_back(uint16_t(random() % m.codebook.size()));
    }
  }
  if (m.sparse) m.row_start.push_back(uint32_t(m.code.size()));
  if (sort != Sort::signs && sort != Sort::grid && sort != Sort::columns) return m;
  m.by_column = sort == Sort::columns;
  for (size_t k = 0; k < (m.by_column ? cols : count / per); ++k) {
    m.step.push_back(0.01f + std::fabs(normal(random)));
    m.zero.push_back(sort == Sort::signs ? 1.0f : m.by_column && values < 256 ? 7.0f : float(random() % values));
  }
  return m;
}

// Of the first vector no value is negative.
std::vector<float> inputs_of(Sort sort, size_t batch, uint32_t cols, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(batch * cols);
  for (size_t i = 0; i < x.size(); ++i) {
    const float value = sort == Sort::signs ? float(int(random() % 3)) - 1 : sort == Sort::largest ? (random() % 4 ? 1.0f : -1.0f) : normal(random);
    x[i] = i < cols ? std::fabs(value) : value;
  }
  return x;
}

std::vector<Cpu> columns() {
  std::vector<Cpu> found;
  for (Cpu cpu : {Cpu::scalar, Cpu::avx2, Cpu::avx512, Cpu::avx512vnni, Cpu::neon, Cpu::dotprod}) {
    if (cpu_runs(cpu, cpu_best())) found.push_back(cpu);
  }
  return found;
}

bool rounds(const std::string& name) {
  const std::string family = name.substr(0, name.find('/'));
  return family == "gemv8" || family == "gemm8" || family == "wsell8" || family == "spmm8" || family == "tiles8";
}

template <class Kernel>
std::vector<float> answer(const Kernel& kernel, const std::vector<float>& x, size_t batch, size_t y_size, Pool& pool) {
  std::vector<float> y(batch * y_size, NAN);
  kernel.run(x.data(), batch, {}, y.data(), pool);
  return y;
}

bool agrees(const Matrix& m, const char* name, const std::vector<float>& x, const std::vector<float>& y, size_t batch) {
  const std::vector<float> dense = dense_values(m);
  double most = 1e-3, off = 0;
  for (size_t b = 0; b < batch; ++b) {
    for (size_t r = 0; r < m.rows; ++r) {
      double sum = 0;
      for (size_t c = 0; c < m.cols; ++c) sum += double(dense[r * m.cols + c]) * x[b * m.cols + c];
      most = std::max(most, std::fabs(sum));
      const double now = std::fabs(sum - y[b * m.rows + r]);
      off = now <= off ? off : now;  // NaN stays
    }
  }
  if (off <= (rounds(name) ? 0.1 : 1e-5) * most) return true;
  std::printf("%s is off by %g of %g at %u x %u, batch %zu\n", name, off, most, m.rows, m.cols, batch);
  return false;
}

// Codes give the bits of the floats that they stand for.
template <class Kernel>
bool codes_equal_floats(const std::vector<std::unique_ptr<Kernel>>& found, const std::vector<float>& x, size_t batch, size_t y_size, Pool& pool) {
  const Kernel *codes = nullptr, *floats = nullptr;
  for (const auto& kernel : found) {
    const std::string name = kernel->name(), family = name.substr(0, name.find('/'));
    if (family == "gemm-codes8") codes = kernel.get();
    if (family == "gemm") floats = kernel.get();
  }
  if (!codes || !floats) return true;
  const std::vector<float> a = answer(*codes, x, batch, y_size, pool), b = answer(*floats, x, batch, y_size, pool);
  if (std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0) return true;
  std::printf("%s has other bits than %s\n", codes->name(), floats->name());
  return false;
}

// Integers are exact: every kernel that rounds gives the bits of the first one, which is scalar.
bool equal(const char* name, const std::vector<float>& y, std::vector<float>& first) {
  if (first.empty()) first = y;
  if (std::memcmp(y.data(), first.data(), y.size() * sizeof(float)) == 0) return true;
  std::printf("%s has other bits than the scalar kernels\n", name);
  return false;
}

// Rows, channels and pixels that fill no block, no quad and no panel; channels in one group and in two.
bool convolutions_agree(std::mt19937& random, std::set<std::string>& names, Pool& pool) {
  bool good = true;
  for (const ConvShape& shape : {ConvShape{5, 13, 1, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 9, 13, 4, 6}, ConvShape{40, 20, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 9, 9, 9, 9},
                                 ConvShape{12, 14, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 5, 6, 5, 6}}) {
    const Matrix m = matrix_of(Sort::free, shape.out_channels, shape.in_channels / shape.groups * shape.kernel_h * shape.kernel_w, 0, 0, random);
    std::vector<float> x(2 * size_t(shape.in_channels) * shape.in_h * shape.in_w), first;
    for (float& value : x) value = std::normal_distribution<float>()(random);
    for (Cpu cpu : columns()) {
      KernelRequest request;
      request.cpu = cpu;
      ConvKernels found;
      add_int8_kernels(m, shape, request, found);
      for (const auto& kernel : found) {
        names.insert(kernel->name());
        good &= equal(kernel->name(), answer(*kernel, x, 2, size_t(shape.out_channels) * shape.out_h * shape.out_w, pool), first);
      }
      for (const Matrix& coded : {matrix_of(Sort::codebook, m.rows, m.cols, 100, 0, random), matrix_of(Sort::grid, m.rows, m.cols, 256, m.cols, random), matrix_of(Sort::columns, m.rows, m.cols, 256, 0, random)}) {
        ConvKernels both;
        add_codes_kernels(coded, shape, request, both);
        add_dense_kernels(coded, shape, request, both);
        good &= codes_equal_floats(both, x, 2, size_t(shape.out_channels) * shape.out_h * shape.out_w, pool);
      }
    }
  }
  return good;
}

}  // namespace

int main() {
  std::mt19937 random(1);
  Pool pool(2);
  bool good = true;
  std::set<std::string> names;
  struct Case { Sort sort; uint32_t rows, cols, values, per; };
  for (const Case& one : {Case{Sort::free, 37, 131, 0, 0}, {Sort::free, 17, 1083, 0, 0}, {Sort::sparse, 100, 300, 31, 0},
                          {Sort::sparse, 35, 2900, 70, 0}, {Sort::sparse, 3, 66000, 9, 0}, {Sort::largest, 40, 3001, 0, 0},
                          {Sort::codebook, 21, 260, 16, 0}, {Sort::codebook, 19, 200, 256, 0}, {Sort::codebook, 5, 128, 100, 0},
                          {Sort::signs, 83, 2100, 2, 2100}, {Sort::signs, 16, 64, 2, 1024}, {Sort::grid, 30, 160, 16, 160},
                          {Sort::grid, 9, 192, 16, 32}, {Sort::grid, 9, 200, 15, 25}, {Sort::grid, 30, 160, 255, 160}, {Sort::grid, 9, 200, 256, 40},
                          {Sort::columns, 30, 160, 15, 0}, {Sort::columns, 9, 203, 255, 0}, {Sort::columns, 9, 200, 256, 0}}) {
    const Matrix m = matrix_of(one.sort, one.rows, one.cols, one.values, one.per, random);
    const size_t batches[] = {1, 3, 7, 66};
    std::vector<float> x[4], first[4];
    for (int k = 0; k < 4; ++k) x[k] = inputs_of(one.sort, batches[k], one.cols, random);
    for (Cpu cpu : columns()) {
      KernelRequest request;
      request.cpu = cpu;
      request.signs = true;
      request.pool = &pool;
      LinearKernels found;
      using Add = void (*)(const Matrix&, const KernelRequest&, LinearKernels&);
      for (Add add : {Add(add_binary_kernels), Add(add_codes_kernels), Add(add_int8_kernels), Add(add_sparse_kernels), Add(add_dense_kernels)}) add(m, request, found);
      for (const auto& kernel : found) {
        names.insert(kernel->name());
        for (int k = 0; k < 4; ++k) {
          const std::vector<float> y = answer(*kernel, x[k], batches[k], m.rows, pool);
          good &= agrees(m, kernel->name(), x[k], y, batches[k]);
          if (rounds(kernel->name())) good &= equal(kernel->name(), y, first[k]);
        }
      }
      for (int k = 0; k < 4; ++k) good &= codes_equal_floats(found, x[k], batches[k], m.rows, pool);
    }
  }
  good &= convolutions_agree(random, names, pool);
  for (const std::string& name : names) std::printf("%s\n", name.c_str());
  return good ? 0 : 1;
}
