#include "tersenet/runtime/choose.h"

#include <algorithm>
#include <chrono>

namespace tersenet {
namespace {

constexpr double kEnoughUs = 1500;  // a candidate is timed for about so long
constexpr int kMostRuns = 20;

using Clock = std::chrono::steady_clock;

double time_us(const std::function<void()>& run) {
  run();  // page faults, caches, the pool's threads
  double best = 0, spent = 0;
  for (int i = 0; i < kMostRuns && (i == 0 || spent < kEnoughUs); ++i) {
    const Clock::time_point start = Clock::now();
    run();
    const double took = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    best = i == 0 ? took : std::min(best, took);
    spent += took;
  }
  return best;
}

// Half of it zeros, as after a ReLU; or signs.
AlignedVector<float> sample(size_t count, bool signs) {
  AlignedVector<float> x(count);
  uint32_t state = 1;
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    x[i] = signs ? (int32_t(state) < 0 ? -1.0f : 1.0f) : std::max(0.0f, float(int32_t(state)) * (1.0f / 2147483648.0f));
  }
  return x;
}

enum class Family { int8, binary, codes, sparse, dense };

// Families in the order in which they are likely to win; `make(family, found)` appends a family's kernels.
template <class Kernel, class Make>
Choice<Kernel> choose(const Make& make, size_t x_size, size_t y_size, size_t dense_bytes, const ChooseOptions& options, Pool& pool) {
  Choice<Kernel> choice;
  AlignedVector<float> x, y;
  double best_us = 0;
  size_t least_bytes = SIZE_MAX;
  const auto too_large = [&](size_t bytes) { return options.wanted.empty() && choice.kernel && bytes > std::max<uint64_t>(kDenseFree, 2 * least_bytes); };
  for (Family family : {Family::int8, Family::binary, Family::codes, Family::sparse, Family::dense}) {
    const bool exact = family == Family::binary && options.signs;  // integers too
    if (family == Family::int8 ? !options.int8 : options.int8 && choice.kernel && !exact) continue;
    if (family == Family::dense && too_large(dense_bytes)) continue;
    std::vector<std::unique_ptr<Kernel>> found;
    make(family, found);
    for (std::unique_ptr<Kernel>& kernel : found) {
      if (!options.wanted.empty()) {
        if (options.wanted != kernel->name()) continue;
        choice.tried.push_back({kernel->name(), kernel->bytes(), 0});
        choice.kernel = std::move(kernel);
        return choice;
      }
      if (family == Family::dense && too_large(kernel->bytes())) continue;
      if (x.size() == 0) {
        x = sample(x_size, options.signs);
        y = AlignedVector<float>(y_size);
      }
      const double took = time_us([&] { kernel->run(x.data(), options.batch, {}, y.data(), pool); });
      choice.tried.push_back({kernel->name(), kernel->bytes(), took});
      least_bytes = std::min(least_bytes, kernel->bytes());
      if (!choice.kernel || took < best_us) {
        best_us = took;
        choice.kernel = std::move(kernel);
      }
      kernel.reset();
    }
  }
  return choice;
}

}  // namespace

Choice<LinearKernel> choose_linear(const Matrix& weight, const ChooseOptions& options, Pool& pool) {
  const KernelRequest request{options.cpu, options.wanted, options.range, options.signs, &pool, options.batch};
  const auto make = [&](Family family, LinearKernels& found) {
    if (family == Family::int8) add_int8_kernels(weight, request, found);
    if (family == Family::binary) add_binary_kernels(weight, request, found);
    if (family == Family::codes) add_codes_kernels(weight, request, found);
    if (family == Family::sparse) add_sparse_kernels(weight, request, found);
    if (family == Family::dense) add_dense_kernels(weight, request, found);
  };
  return choose<LinearKernel>(make, options.batch * weight.cols, options.batch * weight.rows, size_t(4) * weight.rows * weight.cols, options, pool);
}

Choice<ConvKernel> choose_conv(const Matrix& weight, const ConvShape& shape, const ChooseOptions& options, Pool& pool) {
  const KernelRequest request{options.cpu, options.wanted, options.range, options.signs, &pool, options.batch};
  const auto make = [&](Family family, ConvKernels& found) {
    if (family == Family::int8) add_int8_kernels(weight, shape, request, found);
    if (family == Family::codes) add_codes_kernels(weight, shape, request, found);
    if (family == Family::sparse) add_sparse_kernels(weight, shape, request, found);
    if (family == Family::dense) add_dense_kernels(weight, shape, request, found);
  };
  return choose<ConvKernel>(make, options.batch * shape.in_channels * shape.in_h * shape.in_w,
                            options.batch * shape.out_channels * shape.out_h * shape.out_w, size_t(4) * weight.rows * weight.cols, options, pool);
}

}  // namespace tersenet
