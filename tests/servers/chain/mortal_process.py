"""An engine process that ends without a word at a message that says so: memory, a fault in a library."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

import msgspec

from canopsis.engines.cleaner_events import CleanerEvents
from canopsis.engines.registry import registry
from canopsis.runtime import process
from canopsis.runtime.contract import Batch, Context, Effects
from canopsis.runtime.settings import ProcessSettings


class Mortal(CleanerEvents):
    """Ends its process for ``KILLER``."""

    def process(self, batch: Batch, ctx: Context) -> Effects:
        if any(b"KILLER" in raw.body for raw in batch.raw):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().process(batch, ctx)


def make(_options: object, _partitions: int) -> Mortal:
    return Mortal()


if __name__ == "__main__":
    engines = {**registry(), "cleaner_events": replace(registry()["cleaner_events"], make=make)}
    sys.exit(process.main(msgspec.json.decode(sys.argv[1], type=ProcessSettings), engines))
