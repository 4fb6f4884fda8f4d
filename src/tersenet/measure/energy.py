"""Energy of one inference, from the energy of each operation and each read of a weight.

Horowitz 2014, "Computing's energy problem", as Han et al. 2015 (arXiv:1506.02626, figure 1) give it: 45 nm,
0.9 V. A model of a chip, for comparing networks; not a measurement of this machine.
"""

from dataclasses import dataclass

FLOAT_ADD_PJ = 0.9
FLOAT_MULTIPLY_PJ = 3.7
SRAM_PJ = 5.0
DRAM_PJ = 640.0
WORD_BYTES = 4
"""All of them for 32 bits."""

UJ_PER_PJ = 1e-6
W_PER_UJ_HZ = 1e-6


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Of one inference, in microjoules.

    from_cache   whether weights were counted as read from SRAM; else from DRAM
    """

    arithmetic_uj: float
    memory_uj: float
    from_cache: bool

    @property
    def energy_uj(self) -> float:
        return self.arithmetic_uj + self.memory_uj

    def watts(self, rate_hz: float) -> float:
        """Power at `rate_hz` inferences a second."""
        return self.energy_uj * rate_hz * W_PER_UJ_HZ


def energy(*, macs: float, weight_bytes: float, from_cache: bool) -> Energy:
    """Of `macs` float multiply-adds, and of reading all the weights once.

    weight_bytes   as they lie in memory while running
    from_cache     they fit on the chip, and stay there between inferences
    """
    read_pj = weight_bytes / WORD_BYTES * (SRAM_PJ if from_cache else DRAM_PJ)
    return Energy(
        arithmetic_uj=macs * (FLOAT_MULTIPLY_PJ + FLOAT_ADD_PJ) * UJ_PER_PJ,
        memory_uj=read_pj * UJ_PER_PJ,
        from_cache=from_cache,
    )
