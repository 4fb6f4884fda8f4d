// coder_columns.h - the coders' inner loops for this CPU, or for the column that TERSENET_CPU names.
#pragma once

#include "tersenet/cpu.h"
#include "tersenet/huffman_loop.h"
#include "tersenet/storage.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

inline CoderKernels coder_kernels() {
  CoderKernels kernels{huffman_run, nullptr, nullptr};
  const Cpu cpu = cpu_chosen();
  (void)cpu;
#if defined(TERSENET_AVX2)
  if (cpu >= Cpu::avx2) kernels.huffman = huffman_run_bmi2;
#endif
#if defined(TERSENET_AVX512)
  if (cpu >= Cpu::avx512) {
    kernels.rans = rans_run_avx512;
    kernels.gaps = gap_columns_avx512;
  }
#endif
  return kernels;
}

}  // namespace
}  // namespace tersenet
