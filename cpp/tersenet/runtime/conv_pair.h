// conv_pair.h - a pointwise convolution and the depthwise one that alone reads it, some channels at a time: what lies
// between them, often the largest value of a network, is never whole.
#pragma once

#include "tersenet/runtime/layer.h"

namespace tersenet {

struct ConvPart {
  const ConvKernel& kernel;
  const ConvShape& shape;
  Epilogue epilogue;
};

// Whether the two can run so, and are large enough to gain: `second` reads what `first` makes, channel by channel.
bool make_a_pair(const ConvKernel& first, const ConvShape& first_shape, const ConvKernel& second, const ConvShape& second_shape);

void run_pair(const ConvPart& first, const ConvPart& second, const float* x, size_t batch, float* y, Pool& pool);

}  // namespace tersenet
