#include "int8_weight.h"

#include <algorithm>
#include <cmath>

#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr int kMost = 127;
// How far from a whole number of steps a value may be that float32 rounded: levels of up to 127 times 2^-24, twice.
constexpr double kOnGrid = 127.0 / (1 << 23);

int8_t nearest(float value, float step) { return step > 0 ? int8_t(std::max(-kMost, std::min(kMost, int(std::nearbyint(double(value) / step))))) : int8_t(0); }

// The largest step of which all values are whole multiples up to 127; where there is none, the largest magnitude / 127.
template <class Value>
float step_of(size_t count, const Value& value) {
  double most = 0;
  for (size_t i = 0; i < count; ++i) most = std::max(most, std::fabs(double(value(i))));
  if (most == 0) return 0.0f;
  for (int levels = 1; levels <= kMost; ++levels) {
    const double step = most / levels;
    size_t i = 0;
    for (; i < count; ++i) {
      const double steps = double(value(i)) / step;
      if (std::fabs(steps - std::nearbyint(steps)) > kOnGrid) break;
    }
    if (i == count) return float(step);
  }
  return float(most / kMost);
}

// The entries of row r: [first, second).
std::pair<size_t, size_t> entries_of(const Matrix& weight, uint32_t r) {
  if (weight.sparse) return {weight.row_start[r], weight.row_start[r + 1]};
  return {size_t(r) * weight.cols, size_t(r + 1) * weight.cols};
}

}  // namespace

Int8Kernels int8_kernels(Cpu cpu) {
#if defined(TERSENET_AVX512VNNI)
  if (cpu == Cpu::avx512vnni) return int8_kernels_avx512vnni();
#endif
#if defined(TERSENET_AVX2)
  if (cpu != Cpu::scalar) return int8_kernels_avx2();
#endif
#if defined(__aarch64__)
  if (cpu >= Cpu::neon) {
    Int8Kernels kernels = int8_kernels_neon();
#if defined(TERSENET_DOTPROD)
    if (cpu == Cpu::dotprod) add_int8_dotprod(kernels);
#endif
    return kernels;
  }
#endif
  (void)cpu;
  return int8_kernels_scalar();
}

Int8BatchKernels int8_batch_kernels(Cpu cpu) {
#if defined(TERSENET_AVX512VNNI)
  if (cpu == Cpu::avx512vnni) return int8_batch_kernels_avx512vnni();
#endif
  (void)cpu;
  return int8_batch_kernels_scalar();
}

int8_t Int8Weight::level(const Matrix& weight, size_t entry, uint32_t row) const {
  return codebook.empty() ? nearest(weight.at(entry), step[row]) : codebook[weight.code[entry]];
}

bool fits_int8(const Matrix& weight) {
  if (weight.cols > kInt8MaxColumns) return false;
  const std::vector<float>& values = weight.stepped() ? weight.step : weight.shared() ? weight.codebook : weight.value;
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

Int8Weight int8_weight(const Matrix& weight) {
  Int8Weight made;
  made.step.resize(weight.rows);
  made.sum.resize(weight.rows);
  if (weight.shared() && !weight.stepped() && weight.codebook.size() <= kInt8Shared) {
    const float step = step_of(weight.codebook.size(), [&](size_t i) { return weight.codebook[i]; });
    std::fill(made.step.begin(), made.step.end(), step);
    for (float value : weight.codebook) made.codebook.push_back(nearest(value, step));
  }
  for (uint32_t r = 0; r < weight.rows; ++r) {
    const auto [from, to] = entries_of(weight, r);
    if (made.codebook.empty()) made.step[r] = step_of(to - from, [&, first = from](size_t i) { return weight.at(first + i); });
    for (size_t e = from; e < to; ++e) made.sum[r] += made.level(weight, e, r);
  }
  return made;
}

}  // namespace tersenet
