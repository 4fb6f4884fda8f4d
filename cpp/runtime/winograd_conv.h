#pragma once

#include "tersenet/runtime/layer.h"

namespace tersenet {

// Appends one where taps are 3x3, stride and dilation 1, and all channels are read.
void add_winograd_kernel(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found);

}  // namespace tersenet
