"""gunicorn's logs, without the keys that a request may carry."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from gunicorn.glogging import Logger

from canopsis.api.auth.authkey import PARAMETER

HIDDEN = "***"
_PARAMETER = re.compile(r"(^|[?&;])([^=&;?\s\"]+)=([^&;\s\"#]*)")
_HEADER = re.compile(r"((?:x[-_]canopsis[-_]authkey|authorization|cookie)[\"']*\s*[:=,]?\s*)[^\r\n\"']+", re.IGNORECASE)
_PLACES = ("r", "q", "f", "U")
"""gunicorn's names of the request line, the query, the referrer and the path."""


def hide_keys(text: str) -> str:
    """Return ``text`` (a URL, a query, a request line) without the value of ``authkey``, however it is encoded."""

    def hide(found: re.Match[str]) -> str:
        is_key = unquote_plus(found[2]).strip().lower() == PARAMETER
        return f"{found[1]}{found[2]}={HIDDEN}" if is_key else found[0]

    return _PARAMETER.sub(hide, text)


class Masking(logging.Formatter):
    """A formatter whose lines hold no key, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return hide_keys(_HEADER.sub(rf"\1{HIDDEN}", super().format(record)))


class AccessLogger(Logger):  # type: ignore[misc]
    """gunicorn's logger; its lines hold no key."""

    def setup(self, cfg: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Open the logs."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(Masking(self.error_fmt, self.datefmt))

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, Any]:  # noqa: ANN401 - gunicorn's
        """Return what a line is made of."""
        found: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        for place in _PLACES:
            if isinstance(found.get(place), str):
                found[place] = hide_keys(found[place])
        return found
