"""The caches that this machine has: whether the weights fit decides what they cost to read."""

from dataclasses import dataclass
from pathlib import Path

LINUX_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, kw_only=True)
class Caches:
    """Data caches that one core reaches, in bytes; None where the system does not say."""

    l1_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None

    def holds(self, size_bytes: int) -> str | None:
        """The smallest cache that holds so many bytes: "L1", "L2", "L3"; None if none is known to."""
        for name, cache_bytes in (("L1", self.l1_bytes), ("L2", self.l2_bytes), ("L3", self.l3_bytes)):
            if cache_bytes is not None and size_bytes <= cache_bytes:
                return name
        return None


def caches(folder: Path = LINUX_CACHES) -> Caches:
    """The caches as Linux lists them; on other systems nothing is known."""
    found: dict[str, int] = {}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            size_bytes = int(size[:-1]) * UNITS[size[-1]] if size[-1:] in UNITS else int(size)
        except (OSError, ValueError):
            continue
        if kind != "Instruction" and level in ("1", "2", "3"):
            found[f"l{level}_bytes"] = size_bytes
    return Caches(**found)
