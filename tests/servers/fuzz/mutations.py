"""What goes wrong with an event: its values and keys, the text of its JSON, its bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

_TOKENS = (
    "NaN",
    "-Infinity",
    "1e999",
    "-1e999",
    "1e-999",
    "9" * 5000,
    "-0",
    "01",
    "0x10",
    "1.",
    ".5",
    "+1",
    "nul",
    "'a'",
)
_TOKEN = re.compile(rb'"@token([0-9]+)@"')

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 4, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40),
    *(0.5, 2.0, -0.0, 1e308, 5e-324, 1_795_521_600_000, 4_000_000_000),
    *("", " ", "0", "2", "2.0", "nan", "-", "check", "component", "resource", "soft", "severity"),
    *(
        "\0",
        "a\0b",
        "\n",
        "\x1b[31m",
        "\x7f",
        "\u202e",
        "\u200b",
        "e\u0301",
        "\u212b",
        "\ufeff",
        "\uffff",
        "\U0001f4a9",
    ),
    *("\ud800", "\udfff\ud800", "\udc80", "x" * 300, "é" * 300, "x" * 5000, "\u0410" * 70_000),
    *("$where", "a.b.c", "../../etc/passwd", "%00", "%s%n", "{{7*7}}", "load=1;2;3 =;; 'a=1", "a=1 " * 300, "'" * 99),
    *([], [[]], [None], [1, "a", {}], ["x" * 300], list(range(300)), ["a"] * 5000),
    *({}, {"": ""}, {"$gt": ""}, {"$set": {"a": 1}}, {"a.b": 1}, {"\0": 1}, {"_id": 1}, {"\ud800": "\ud800"}),
    [{"metric": "m", "value": "@token0@"}],
    [{"metric": "m", "value": 1, "min": [], "crit": {}}, {"metric": "m"}, 5, None],
    *(f"@token{number}@" for number in range(len(_TOKENS))),
)
"""What stands where another value should. None is a good id that another event may get too."""

KEYS = (
    *("event_type", "connector", "connector_name", "component", "resource", "source_type", "state", "state_type"),
    *("state_scale", "timestamp", "output", "long_output", "author", "tags", "perf_data", "perf_data_array", "level"),
    *("extra", "warnings", "entity_id", "late", "sent_timestamp", "sent_event_id", "_id", "", " ", "$set", "a.b", "\0"),
    *("__proto__", "x" * 2000, "é", "\ud800", "connector ", "State"),
)

_ENCODINGS = (
    "utf-16",
    "utf-16-be",
    "utf-32",
    "latin-1",
    "cp1252",
    "shift_jis",
    "utf-7",
    "utf-8-sig",
    "cp037",
    "gb18030",
)


def mutated(rng: Random, event: dict[str, Any]) -> Any:
    """Return ``event`` with one to three things wrong in it."""
    found: Any = deepcopy(event)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not isinstance(found, dict) or not found:
            break
        found = rng.choice(_CHANGES)(rng, found)
    return found


def _drop(rng: Random, event: dict[str, Any]) -> Any:
    del event[rng.choice(list(event))]
    return event


def _replace(rng: Random, event: dict[str, Any]) -> Any:
    event[rng.choice(list(event))] = deepcopy(rng.choice(VALUES))
    return event


def _add(rng: Random, event: dict[str, Any]) -> Any:
    event[rng.choice(KEYS)] = deepcopy(rng.choice(VALUES))
    return event


def _rename(rng: Random, event: dict[str, Any]) -> Any:
    value = event.pop(rng.choice(list(event)))
    event[rng.choice(KEYS)] = value
    return event


def _inside(rng: Random, event: dict[str, Any]) -> Any:
    """Change a value of a list or an object within."""
    inner = [value for value in event.values() if isinstance(value, (list, dict)) and value]
    if not inner:
        return _replace(rng, event)
    chosen = rng.choice(inner)
    chosen[rng.choice(list(chosen) if isinstance(chosen, dict) else range(len(chosen)))] = deepcopy(rng.choice(VALUES))
    return event


def _wrap(rng: Random, event: dict[str, Any]) -> Any:
    return rng.choice(({"event": event}, [[event]], {"extra": event}, {"a": [event]}, str(event), 5, None))


def _bury(rng: Random, event: dict[str, Any]) -> Any:
    value: Any = 1
    for _ in range(rng.choice((18, 19, 20, 21, 22, 60, 200))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    event["more"] = value
    return event


_CHANGES: tuple[Callable[[Random, dict[str, Any]], Any], ...] = (
    *(_drop, _replace, _replace, _replace, _replace, _add, _add, _rename, _inside, _inside),
    *(_wrap, _bury),
)


def encoded(rng: Random, value: Any) -> bytes:
    """Return ``value`` as JSON, in one of the ways in which JSON is written."""
    if rng.random() < 0.5:
        text = json.dumps(value).encode()
    else:
        text = json.dumps(value, ensure_ascii=False, indent=rng.choice((None, 1))).encode("utf-8", "surrogatepass")
    return _TOKEN.sub(lambda found: _TOKENS[int(found[1])].encode(), text)


def mistyped(rng: Random, event: dict[str, Any]) -> bytes:
    """Return what is nearly the JSON of ``event``: another encoding, other punctuation, too deep, twice."""
    text = json.dumps(event, ensure_ascii=False)
    chosen = rng.randrange(9)
    if chosen == 0:
        return text.encode(rng.choice(_ENCODINGS), "replace")
    depth = rng.choice((50, 400, 3000, 50_000))
    return (
        text.replace('"', "'").encode(),
        (text[:-1] + ",}").encode(),
        (text + "\n" + text).encode(),
        (text[:-1] + ', "state": 1, "state": 2}').encode(),
        b"\xef\xbb\xbf" + text.encode(),
        (text[:-1] + ', "more": ').encode() + b"[" * depth + b"]" * depth + b"}",
        (text[:-1] + ', "more": ').encode() + b'{"a":' * depth,
        (text + " // a comment").encode(),
    )[chosen - 1]


def torn(rng: Random, data: bytes) -> bytes:
    """Return ``data`` with bytes changed, lost, doubled or put in."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(found) + 1)
        end = min(len(found), at + rng.choice((1, 1, 2, 8, 64)))
        chosen = rng.randrange(6)
        if chosen == 0:
            found[at:end] = rng.randbytes(end - at)
        elif chosen == 1:
            del found[at:end]
        elif chosen == 2:
            found[at:at] = rng.randbytes(rng.choice((1, 2, 40)))
        elif chosen == 3:
            found[at:at] = found[at:end]
        elif chosen == 4:
            found[at:end] = rng.choice(
                (b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b'"', b"\\", b"{", b"]", b"\\u00")
            )
        else:
            del found[rng.randrange(len(found) // 2, len(found) + 1) if rng.random() < 0.3 else len(found) :]
    return bytes(found)
