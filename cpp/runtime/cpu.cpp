// Compiled once, with what the build knows of its columns (targets.cmake).
#include "tersenet/cpu.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace tersenet {

Cpu cpu_best() {
#if defined(TERSENET_DOTPROD) && defined(__APPLE__)
  return Cpu::dotprod;  // every Mac on ARM has it
#elif defined(TERSENET_DOTPROD) && defined(__linux__)
  return getauxval(AT_HWCAP) & (1u << 20) ? Cpu::dotprod : Cpu::neon;  // HWCAP_ASIMDDP
#elif defined(__aarch64__)
  return Cpu::neon;  // every 64-bit ARM has it
#endif
#if defined(TERSENET_AVX2) || defined(TERSENET_AVX512)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("pclmul");
#endif
#if defined(TERSENET_AVX512)
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
#if defined(TERSENET_AVX512VNNI)
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq")) return Cpu::avx512vnni;
#endif
    return Cpu::avx512;
  }
#endif
#if defined(TERSENET_AVX2)
  if (avx2) return Cpu::avx2;
#endif
  return Cpu::scalar;
}

}  // namespace tersenet
