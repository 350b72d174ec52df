"""The lines that engines and web servers write to their logs."""

from __future__ import annotations

import logging
from typing import IO

from canopsis.errors import bounded

LONGEST = 16_384
"""Characters of a line with its traceback: the text of an error may hold whole documents."""


class Bounded(logging.Formatter):
    """A formatter that keeps the beginning and the end of what is too long."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return bounded(super().format(record), LONGEST)


def write_to(stream: IO[str], level: int) -> None:
    """Let everything that is logged go to ``stream``."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Bounded("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=level, force=True)
