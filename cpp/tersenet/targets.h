// targets.h - the entry points of the SIMD columns; each is defined in one file of cpp/targets.
#pragma once

#include "tersenet/huffman_kernel.h"
#include "tersenet/rans_kernel.h"

namespace tersenet {

void huffman_run_bmi2(const HuffmanTable& table, HuffmanLane* lanes, int count);
size_t rans_run_avx512(const RansTable& table, RansRun& run);

}  // namespace tersenet
