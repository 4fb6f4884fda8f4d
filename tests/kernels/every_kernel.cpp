// every_kernel.cpp - every kernel of a linear layer that this machine has, in every column, against sums in double precision:
// for machines without Python, emulated ones, and sanitizers. Built by tests/runtime/test_c_api.py.
#include <cmath>
#include <cstdio>
#include <random>
#include <set>

#include "tersenet/runtime/layer.h"

using namespace tersenet;

namespace {

enum class Sort { free, sparse, codebook, signs, grid };

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
  for (uint32_t k = 0; k < values; ++k) m.codebook.push_back(sort == Sort::grid ? float(k) : normal(random));
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
  if (sort != Sort::signs && sort != Sort::grid) return m;
  for (size_t k = 0; k < count / per; ++k) {
    m.step.push_back(0.01f + std::fabs(normal(random)));
    m.zero.push_back(sort == Sort::signs ? 1.0f : float(random() % values));
  }
  return m;
}

bool agrees(const Matrix& m, const LinearKernel& kernel, const std::vector<float>& x, size_t batch, Pool& pool) {
  std::vector<float> y(batch * m.rows, NAN);
  kernel.run(x.data(), batch, {}, y.data(), pool);
  const std::vector<float> dense = dense_values(m);
  const bool rounds = std::string(kernel.name()).find("8/") != std::string::npos && kernel.name()[0] != 'c' && kernel.name()[0] != 'l';
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
  if (off <= (rounds ? 0.1 : 1e-5) * most) return true;  // those that round have laws of their own
  std::printf("%s is off by %g of %g at %u x %u, batch %zu\n", kernel.name(), off, most, m.rows, m.cols, batch);
  return false;
}

}  // namespace

int main() {
  std::mt19937 random(1);
  Pool pool(2);
  bool good = true;
  std::set<std::string> names;
  struct Case { Sort sort; uint32_t rows, cols, values, per; };
  for (const Case& one : {Case{Sort::free, 37, 131, 0, 0}, {Sort::sparse, 100, 300, 31, 0}, {Sort::codebook, 21, 260, 16, 0}, {Sort::codebook, 19, 200, 256, 0},
                          {Sort::codebook, 5, 128, 100, 0}, {Sort::signs, 83, 2100, 2, 2100}, {Sort::signs, 16, 64, 2, 1024}, {Sort::grid, 30, 160, 16, 160},
                          {Sort::grid, 9, 192, 16, 32}, {Sort::grid, 9, 200, 15, 25}, {Sort::grid, 30, 160, 255, 160}, {Sort::grid, 9, 200, 256, 40}}) {
    const Matrix m = matrix_of(one.sort, one.rows, one.cols, one.values, one.per, random);
    for (Cpu cpu : {Cpu::scalar, Cpu::avx2, Cpu::avx512, Cpu::avx512vnni, Cpu::neon}) {
      if (!cpu_runs(cpu, cpu_best())) continue;
      KernelRequest request;
      request.cpu = cpu;
      request.signs = true;
      request.pool = &pool;
      LinearKernels found;
      using Add = void (*)(const Matrix&, const KernelRequest&, LinearKernels&);
      for (Add add : {Add(add_binary_kernels), Add(add_codes_kernels), Add(add_int8_kernels), Add(add_sparse_kernels), Add(add_dense_kernels)}) add(m, request, found);
      for (const auto& kernel : found) {
        names.insert(kernel->name());
        for (size_t batch : {1, 3, 7, 66}) {
          std::vector<float> x(batch * one.cols);
          for (float& value : x) value = one.sort == Sort::signs ? float(int(random() % 3)) - 1 : std::normal_distribution<float>()(random);
          good &= agrees(m, *kernel, x, batch, pool);
        }
      }
    }
  }
  for (const std::string& name : names) std::printf("%s\n", name.c_str());
  return good ? 0 : 1;
}
