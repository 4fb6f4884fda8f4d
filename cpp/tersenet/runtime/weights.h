// weights.h - stored tensors as the runtime uses them: small ones as dense arrays, weights of layers as a Matrix.
//
// A Matrix is read off the storage tree without its zeros: scatter, table, reshape and permute are followed by index,
// so that what is held on the way is 5 to 8 bytes for each weight that is there, not 4 for each place. A grid with a
// step for each row, group or column keeps its integers. Trees of other kinds (sums, transforms) are decoded and, where zeros are
// many, made sparse.
#pragma once

#include "tersenet/runtime/aligned.h"
#include "tersenet/runtime/matrix.h"
#include "tersenet/runtime/pool.h"
#include "tersenet/storage.h"

namespace tersenet {

// The tree's elements as rows x cols in row-major order; rows * cols is its number of elements, below 2^31.
// Zeros are left out, and with them unused values of the codebook, where at most kSparseBelow of all remain.
Matrix matrix_of(const StorageTree& tree, const CoderKernels& kernels, uint32_t rows, uint32_t cols, Pool& pool);

constexpr double kSparseBelow = 0.75;

// A grid with steps becomes sparse only below this share: six bytes a weight there, against one or less for each place.
constexpr double kSteppedSparseBelow = 0.15;
constexpr size_t kLeastRun = 16;  // entries that share a step, else steps are multiplied out

}  // namespace tersenet
