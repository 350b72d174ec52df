"""gunicorn's logs, without the keys that a request may carry."""

from __future__ import annotations

import logging
import os
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

_PLAIN = re.compile(r"[\w /.,-]*")
"""What has no place for a secret: most request lines."""

_HEADER = re.compile(r"((?:x[-_]canopsis[-_]authkey|authorization|cookie)[\"']*\s*[:=,]?\s*)[^\r\n\"']+", re.IGNORECASE)
_USER = re.compile(r"(//)[^/?#\s@]+@")


def hide_keys(text: str) -> str:
    """Return ``text`` (a URL, a query, a request line) without keys and passwords, however they are encoded."""
    if _PLAIN.fullmatch(text):
        return text
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

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, Any]:  # noqa: ANN401, ARG002 - gunicorn's
        """Return what a line may be made of, by gunicorn's letters; headers are not among it, for some are keys."""
        method, protocol = environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"]
        return {
            "h": environ.get("REMOTE_ADDR", "-"),
            "t": self.now(),
            "r": f"{method} {hide_keys(environ['RAW_URI'])} {protocol}",
            "m": method,
            "U": hide_keys(environ.get("PATH_INFO", "-")),
            "q": hide_keys(environ.get("QUERY_STRING", "-")),
            "H": protocol,
            "s": str(resp.status).split(None, 1)[0],
            "b": str(resp.sent),
            "f": hide_keys(environ.get("HTTP_REFERER", "-")),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "D": int(request_time.total_seconds() * 1_000_000),
            "M": int(request_time.total_seconds() * 1000),
            "p": f"<{os.getpid()}>",
        }
