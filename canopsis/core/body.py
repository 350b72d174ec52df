"""The JSON that sources send, read with patience: one bad byte or number does not lose what stands beside it."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from canopsis.core.extra import MAX_DEPTH
from canopsis.errors import InvalidEvent

_DECODER = msgspec.json.Decoder(object)
_ENCODER = msgspec.json.Encoder()
_MARK = b"\xef\xbb\xbf"
_MAX_DIGITS = 400
"""Of an integer; beyond it Python takes long, or refuses, to read it."""


def loads(body: bytes) -> object:
    """Return the JSON value ``body``, with or without a byte order mark.

    A byte that is not UTF-8, and half of a surrogate pair, becomes a lone surrogate; NaN, and a number beyond floats,
    its text. Raises InvalidEvent for what is not JSON, or nested too deep.
    """
    if body[:3] == _MARK:
        # Blanks in its place: an error names a byte of the body as it came.
        body = b"   " + body[3:]
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _patiently(body, error)
    except RecursionError:
        raise _too_deep(body) from None


def _patiently(body: bytes, first: Exception) -> object:
    text = body.decode("utf-8", "surrogateescape")
    try:
        return json.loads(text, parse_float=_float, parse_int=_int, parse_constant=str)
    except json.JSONDecodeError as error:
        at = len(text[: error.pos].encode("utf-8", "surrogateescape"))
        why = f"{error.msg} (byte {at})" if isinstance(first, UnicodeDecodeError) else str(first)
        raise InvalidEvent("body", body, f"JSON in UTF-8; {why}") from None
    except RecursionError:
        raise _too_deep(body) from None


def _float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _int(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_DIGITS else text


def _too_deep(body: bytes) -> InvalidEvent:
    return InvalidEvent("body", body, f"values nested at most {MAX_DEPTH} deep")


def encode(raw: dict[str, Any]) -> bytes:
    """Return ``raw``, as ``loads`` returned it, as JSON again: lone surrogates stay what they are."""
    try:
        return _ENCODER.encode(raw)
    except UnicodeEncodeError:
        return json.dumps(raw, separators=(",", ":")).encode()
