"""The processes of a site under attack: that each lives on, and what memory it has."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

MIB = 1 << 20

WARM_UP, WARM = 0.25, 2000
"""The part of a run in which memory may grow: code is loaded, names become known, buffers get their size.

A quarter, and so many messages, but no more than two thirds.
"""

FLAT = 1.2
"""How much more memory, on average, a process may have in the second half of what follows than in the first."""


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 when there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


@dataclass
class Watch:
    """Samples of the memory of ``pids``, by name, over a run of ``total`` messages."""

    pids: dict[str, int]
    total: int
    begun: float = field(default_factory=time.monotonic)
    samples: list[tuple[int, dict[str, int]]] = field(default_factory=list)

    def sample(self, done: int) -> None:
        """Take note of the memory of all after ``done`` messages."""
        self.samples.append((done, {name: resident(pid) for name, pid in self.pids.items()}))

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return time.monotonic() - self.begun

    def growth(self, name: str) -> float:
        """Return by what factor the memory of a process grew between the two halves that follow the warm-up."""
        begin = max(self.total * WARM_UP, min(WARM, self.total * 2 / 3))
        middle = (begin + self.total) / 2
        first = [found[name] for done, found in self.samples if begin < done <= middle]
        second = [found[name] for done, found in self.samples if done > middle]
        return fmean(second) / fmean(first)

    def table(self) -> list[str]:
        """Return the memory of each process at start, half and end, and its growth."""
        half = min(self.samples, key=lambda found: abs(found[0] - self.total / 2))[1]
        start, end = self.samples[0][1], self.samples[-1][1]
        lines = [f"{'resident, MiB':16}{'start':>8}{'half':>8}{'end':>8}{'growth':>8}"]
        for name in self.pids:
            sizes = "".join(f"{found[name] / MIB:8.1f}" for found in (start, half, end))
            lines.append(f"{name:16}{sizes}{self.growth(name):8.3f}")
        return lines
