// cpu.h - which column of kernels runs: the best that this CPU has, or the one TERSENET_CPU names.
//
// The variable is read at each call, so that a test can run every column in one process.
// A column that the CPU or the build lacks is refused, never replaced silently.
#pragma once

#include <cstdlib>
#include <cstring>

#include "tersenet/refuse.h"

namespace tersenet {

enum class Cpu { scalar = 0, avx2 = 1, avx512 = 2 };

inline const char* cpu_name(Cpu cpu) {
  return cpu == Cpu::avx512 ? "avx512" : cpu == Cpu::avx2 ? "avx2" : "scalar";
}

// The best column that was compiled and that this CPU can run.
inline Cpu cpu_best() {
#if defined(TERSENET_AVX2) || defined(TERSENET_AVX512)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
#endif
#if defined(TERSENET_AVX512)
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return Cpu::avx512;
  }
#endif
#if defined(TERSENET_AVX2)
  if (avx2) return Cpu::avx2;
#endif
  return Cpu::scalar;
}

inline Cpu cpu_chosen() {
  static const Cpu best = cpu_best();
  const char* wish = std::getenv("TERSENET_CPU");
  if (wish == nullptr || *wish == '\0') return best;
  for (Cpu cpu : {Cpu::scalar, Cpu::avx2, Cpu::avx512}) {
    if (std::strcmp(wish, cpu_name(cpu)) != 0) continue;
    if (cpu > best) {
      refuse(std::string("TERSENET_CPU is ") + wish + "; this CPU and build run up to " + cpu_name(best));
    }
    return cpu;
  }
  refuse(std::string("TERSENET_CPU is '") + wish + "'; expected scalar, avx2 or avx512");
}

}  // namespace tersenet
