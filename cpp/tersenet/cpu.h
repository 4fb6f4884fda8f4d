// cpu.h - which column of kernels runs: the best that this CPU has, or the one TERSENET_CPU names.
//
// The variable is read at each call, so that a test can run every column in one process.
// A column that the CPU or the build lacks is refused, never replaced silently.
#pragma once

#include <cstdlib>
#include <cstring>

#include "tersenet/refuse.h"

namespace tersenet {

// Columns include those before them, but for NEON, which stands for itself on ARM. avx512vnni also has VBMI and VPOPCNTDQ.
enum class Cpu { scalar = 0, avx2 = 1, avx512 = 2, avx512vnni = 3, neon = 4 };

inline const char* cpu_name(Cpu cpu) {
  switch (cpu) {
    case Cpu::avx2: return "avx2";
    case Cpu::avx512: return "avx512";
    case Cpu::avx512vnni: return "avx512vnni";
    case Cpu::neon: return "neon";
    default: return "scalar";
  }
}

// The best column that was compiled and that this CPU can run.
inline Cpu cpu_best() {
#if defined(__aarch64__)
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

// Whether a machine whose best column is `best` runs `cpu`.
inline bool cpu_runs(Cpu cpu, Cpu best) {
  return cpu == Cpu::scalar || cpu == best || (cpu < best && best != Cpu::neon);
}

inline Cpu cpu_chosen() {
  static const Cpu best = cpu_best();
  const char* wish = std::getenv("TERSENET_CPU");
  if (wish == nullptr || *wish == '\0') return best;
  for (Cpu cpu : {Cpu::scalar, Cpu::avx2, Cpu::avx512, Cpu::avx512vnni, Cpu::neon}) {
    if (std::strcmp(wish, cpu_name(cpu)) != 0) continue;
    if (!cpu_runs(cpu, best)) {
      refuse(std::string("TERSENET_CPU is ") + wish + "; this CPU and build run up to " + cpu_name(best));
    }
    return cpu;
  }
  refuse(std::string("TERSENET_CPU is '") + wish + "'; expected scalar, avx2, avx512, avx512vnni or neon");
}

}  // namespace tersenet
