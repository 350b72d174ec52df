"""An engine process as a program of its own: its settings come as JSON."""

from __future__ import annotations

import sys

import msgspec

from canopsis.engines.registry import registry
from canopsis.runtime import process
from canopsis.runtime.settings import ProcessSettings

if __name__ == "__main__":
    sys.exit(process.main(msgspec.json.decode(sys.argv[1], type=ProcessSettings), registry()))
