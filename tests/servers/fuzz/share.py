"""How many hostile messages and requests are sent, and which ones."""

from __future__ import annotations

import os

TOTAL = int(os.environ.get("CANOPSIS_TEST_HOSTILE", "3000"))
"""So many of each kind. The default is the share that every run of the tests takes."""

SEED = int(os.environ.get("CANOPSIS_TEST_SEED", "2015"))
"""The same seed brings the same messages, byte for byte."""

FIRST = int(os.environ.get("CANOPSIS_TEST_FIRST", "0"))
"""The number of the first one: what a long run found is found again by a short one."""

BLOCK = max(1, min(500, TOTAL // 12))
"""So many are sent before what became of them is looked at."""

TOLD = 10 * BLOCK
"""After so many it is told how far the run is."""

PATIENCE = 180.0
"""Seconds in which a block is to be stored or put aside, on a host that is very busy."""
