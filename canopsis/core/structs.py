"""What msgspec needs before threads use a struct."""

from __future__ import annotations

import msgspec


def prepare(*types: type[msgspec.Struct]) -> None:
    """Have msgspec build its tables of ``types`` now, once, while one thread runs.

    It builds them when a type is first converted, and lets other threads in while it does: a second thread that
    converts to the same type then reads a table half made, and the process ends with SIGSEGV (msgspec 0.22).
    """
    for each in types:
        msgspec.json.Decoder(each)
