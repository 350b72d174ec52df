"""gunicorn's logs, without the keys that a request may carry."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from canopsis.api.auth.authkey import PARAMETER
from canopsis.lines import Bounded

HIDDEN = "***"

_SECRETS = (PARAMETER, "password")


def _encoded(word: str) -> str:
    """Return a pattern of ``word`` in which any letter may be percent-encoded, more than once too."""
    return "".join(f"(?:{letter}|%(?:25)*(?:{ord(letter):02x}|{ord(letter.upper()):02x}))" for letter in word)


_NAMED = re.compile(
    rf"((?:{'|'.join(map(_encoded, _SECRETS))})[\"']*\s*(?:[=:]|%(?:25)*3[ad])[\s\"']*)[^&;\s\"'#]*", re.IGNORECASE
)
"""A secret after its name, wherever that stands: a sender's ``?`` or ``&`` may be a wrong one."""

_HEADER = re.compile(r"((?:x[-_]canopsis[-_]authkey|authorization|cookie)[\"']*\s*[:=,]?\s*)[^\r\n\"']+", re.IGNORECASE)
_USER = re.compile(r"(//)[^/?#\s@]+@")
_PLACES = ("r", "q", "f", "U")
"""gunicorn's names of the request line, the query, the referrer and the path."""


def hide_keys(text: str) -> str:
    """Return ``text`` (a URL, a query, a request line) without keys and passwords, however they are encoded."""
    return _USER.sub(rf"\1{HIDDEN}@", _NAMED.sub(rf"\1{HIDDEN}", text))


class Masking(Bounded):
    """A formatter whose lines hold no key, tracebacks included, and are not too long."""

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
