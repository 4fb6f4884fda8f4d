#pragma once

#include "tersenet/runtime/layer.h"

namespace tersenet {

// Appends one; there are as many groups as input channels.
void add_depthwise_kernel(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found);

}  // namespace tersenet
