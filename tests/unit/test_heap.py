"""That memory of large blocks goes back to the system, seen from outside."""

from __future__ import annotations

import subprocess
import sys

MIB = 1 << 20

# The pins stand behind the large blocks: as long as they are there, a heap cannot shrink.
_SCRIPT = """
import sys
from canopsis import heap
if "told" in sys.argv:
    assert heap.give_back()
first = b"x" * (31 << 20)
del first
blocks, pins = [], []
for _ in range(16):
    blocks.append(b"x" * (4 << 20))
    pins.append(b"x" * 100_000)
del blocks
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def resident(*argv: str) -> int:
    done = subprocess.run([sys.executable, "-c", _SCRIPT, *argv], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


def test_large_blocks_are_given_back() -> None:
    assert resident() - resident("told") > 40 * MIB
