// weights.h - stored tensors as the runtime uses them: small ones as dense arrays, weights of layers as a Matrix.
//
// A Matrix is read off the storage tree without its zeros: scatter, table, reshape and permute are followed by index,
// so that what is held on the way is 5 to 8 bytes for each weight that is there, not 4 for each place. Trees of other
// kinds (sums, transforms, affine with a step for each row) are decoded and, where zeros are many, made sparse.
#pragma once

#include "tersenet/runtime/aligned.h"
#include "tersenet/runtime/matrix.h"
#include "tersenet/storage.h"

namespace tersenet {

// The tree's elements as rows x cols in row-major order; rows * cols is its number of elements, below 2^31.
// Zeros are left out, and with them unused values of the codebook, where at most kSparseBelow of all remain.
Matrix matrix_of(const StorageTree& tree, const CoderKernels& kernels, uint32_t rows, uint32_t cols);

constexpr double kSparseBelow = 0.75;

}  // namespace tersenet
