// cpu.h - which column of kernels runs: the best that this CPU has, or the one TERSENET_CPU names.
//
// The variable is read at each call, so that a test can run every column in one process.
// A column that the CPU or the build lacks is refused, never replaced silently.
#pragma once

#include <cstdlib>
#include <cstring>

#include "tersenet/refuse.h"

namespace tersenet {

// Columns include those before them, those of ARM from neon on. avx512vnni also has VBMI and VPOPCNTDQ.
enum class Cpu { scalar = 0, avx2 = 1, avx512 = 2, avx512vnni = 3, neon = 4, dotprod = 5 };

inline const char* cpu_name(Cpu cpu) {
  switch (cpu) {
    case Cpu::avx2: return "avx2";
    case Cpu::avx512: return "avx512";
    case Cpu::avx512vnni: return "avx512vnni";
    case Cpu::neon: return "neon";
    case Cpu::dotprod: return "dotprod";
    default: return "scalar";
  }
}

// The best column that was compiled and that this CPU can run.
Cpu cpu_best();

// Whether a machine whose best column is `best` runs `cpu`.
inline bool cpu_runs(Cpu cpu, Cpu best) {
  return cpu == Cpu::scalar || (cpu <= best && (cpu >= Cpu::neon) == (best >= Cpu::neon));
}

inline Cpu cpu_chosen() {
  static const Cpu best = cpu_best();
  const char* wish = std::getenv("TERSENET_CPU");
  if (wish == nullptr || *wish == '\0') return best;
  for (Cpu cpu : {Cpu::scalar, Cpu::avx2, Cpu::avx512, Cpu::avx512vnni, Cpu::neon, Cpu::dotprod}) {
    if (std::strcmp(wish, cpu_name(cpu)) != 0) continue;
    if (!cpu_runs(cpu, best)) {
      refuse(std::string("TERSENET_CPU is ") + wish + "; this CPU and build run up to " + cpu_name(best));
    }
    return cpu;
  }
  refuse(std::string("TERSENET_CPU is '") + wish + "'; expected scalar, avx2, avx512, avx512vnni, neon or dotprod");
}

}  // namespace tersenet
