#include "tersenet/runtime/conv_pair.h"

#include <algorithm>

namespace tersenet {
namespace {

constexpr size_t kWorthPair = size_t(512) << 10;  // bytes between the two, from which on a second-level cache is too small
constexpr size_t kNear = size_t(384) << 10;       // bytes between the two that are in memory at a time

size_t area_between(const ConvShape& first) { return size_t(first.out_h) * first.out_w; }

uint32_t part_channels(const ConvShape& first) {
  const uint32_t rows = ConvKernel::kPartRows;
  return std::max<uint32_t>(1, uint32_t(kNear / sizeof(float) / area_between(first)) / rows) * rows;
}

}  // namespace

bool make_a_pair(const ConvKernel& first, const ConvShape& first_shape, const ConvKernel& second, const ConvShape& second_shape) {
  if (first.part_scratch() == 0 || second.part_scratch() == 0 || second_shape.groups != second_shape.in_channels) return false;
  return first_shape.out_channels * area_between(first_shape) * sizeof(float) >= kWorthPair;
}

void run_pair(const ConvPart& first, const ConvPart& second, const float* x, size_t batch, float* y, Pool& pool) {
  const uint32_t channels = first.shape.out_channels, together = part_channels(first.shape);
  const size_t parts = (channels + together - 1) / together, between = area_between(first.shape), area = size_t(second.shape.out_h) * second.shape.out_w;
  const size_t between_bytes = (together * between * sizeof(float) + kAlign - 1) / kAlign * kAlign + kAlign;
  const size_t x_size = size_t(first.shape.in_channels) * first.shape.in_h * first.shape.in_w;
  pool.run(batch * parts, [&](size_t chunk, int worker) {
    const size_t b = chunk / parts;
    const uint32_t from = uint32_t(chunk % parts) * together, count = std::min(together, channels - from);
    uint8_t* memory = static_cast<uint8_t*>(pool.scratch(worker, between_bytes + std::max(first.kernel.part_scratch(), second.kernel.part_scratch())));
    const auto at = [&](const Epilogue& whole, size_t size) {
      Epilogue part = whole;
      if (part.residual) part.residual += (b * channels + from) * size;
      return part;
    };
    float* middle = reinterpret_cast<float*>(memory);
    first.kernel.run_part(x + b * x_size, from, count, at(first.epilogue, between), middle, memory + between_bytes);
    second.kernel.run_part(middle, from, count, at(second.epilogue, area), y + (b * channels + from) * area, memory + between_bytes);
  });
}

}  // namespace tersenet
