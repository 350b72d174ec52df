"""Messages for the broker that no client library would send: properties and headers of every kind."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from hostile import (
    CONTENT_TYPE,
    CORRELATION,
    ENCODING,
    EXPIRATION,
    HEADERS,
    MESSAGE_ID,
    MODE,
    PRIORITY,
    REPLY_TO,
    TIMESTAMP,
    TYPE,
    Raw,
    long,
    nested,
    pair,
    short,
)
from hostile_bodies import Bodies, Body

USER_ID, APP_ID, CLUSTER_ID, MORE_FLAGS = 0x0010, 0x0008, 0x0004, 0x0001

_ROOM = 120_000
"""Bytes of headers that the broker takes: all properties are one frame."""

_TIMES = (0, 1, 1_795_521_600, 253_402_300_799, 253_402_300_800, 2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_WHOLE = (0, 1, -1, 2**31 - 1, -(2**62), 2**63 - 1, -(2**63), 1_795_521_600_000)
_TEXTS = (b"", b"x", b"\xff\xfe", b"\0", b"x" * 255, b"\xc3\xa9" * 100, b"$where.a", b"\xed\xa0\x80", b"../..", b"%s")
_NAMES = (
    *(b"x-death", b"x-first-death-queue", b"x-delivery-count", b"x-acquired-count", b"timestamp_in_ms", b"x-match"),
    *(
        b"",
        b"_id",
        b"$set",
        b"a.b",
        b"\0",
        b"\xff\xfe",
        b"x" * 128,
        b"received",
        b"body",
        b"x-delay",
        b"x-stream-offset",
    ),
)
_TYPES = (
    b"application/json",
    b"text/plain",
    b"application/octet-stream",
    b"",
    b"\xff" * 255,
    b"application/json; charset=x",
)
_ENCODINGS = (b"utf-8", b"gzip", b"deflate", b"binary", b"", b"\xff", b"utf-16", b"hex")


@dataclass(frozen=True)
class Message:
    """A message and what may become of it.

    ``refusable``: the broker may refuse it, and close the channel or the connection. ``passing``: it
    may expire before anybody takes it.
    """

    number: int
    kind: str
    body: Body
    raw: Raw = field(repr=False)
    refusable: bool = False
    passing: bool = False


def value(rng: Random, depth: int = 0) -> bytes:
    """Return a value of a table, of any type that the broker knows, with its letter."""
    simple: dict[bytes, bytes] = {
        b"t": bytes((rng.randrange(256),)),
        b"b": rng.randbytes(1),
        b"B": rng.randbytes(1),
        b"s": rng.randbytes(2),
        b"u": rng.randbytes(2),
        b"I": rng.randbytes(4),
        b"i": rng.randbytes(4),
        b"l": struct.pack(">q", rng.choice(_WHOLE)),
        b"f": struct.pack(">f", rng.uniform(-3e38, 3e38)),
        b"d": struct.pack(">d", rng.choice((0.0, -0.0, 5e-324, -1.7e308, rng.random()))),
        b"D": struct.pack(">Bi", rng.choice((0, 2, 255)), rng.choice((0, -1, 2**31 - 1))),
        b"T": struct.pack(">Q", rng.choice(_TIMES)),
        b"V": b"",
        b"S": long(rng.choice(_TEXTS) * rng.choice((1, 1, 50))),
        b"x": long(rng.randbytes(rng.randrange(60))),
    }
    if depth < 4 and rng.random() < 0.3:
        parts = [value(rng, depth + 1) for _ in range(rng.randrange(4))]
        if rng.random() < 0.5:
            return b"A" + long(b"".join(parts))
        return b"F" + long(b"".join(pair(rng.choice(_NAMES), part) for part in parts))
    letter = rng.choice(list(simple))
    return letter + simple[letter]


def headers(rng: Random) -> bytes:
    """Return headers, as the broker takes them."""
    pairs = [pair(rng.choice(_NAMES), value(rng)) for _ in range(rng.choice((0, 1, 2, 5, 40)))]
    if rng.random() < 0.05:
        pairs.append(pair(b"deep", nested(rng.choice((30, 33, 300, 3000)))))
    if rng.random() < 0.03:
        pairs.append(pair(b"large", b"S" + long(b"\xff" * rng.choice((9_000, 60_000, 90_000)))))
    if rng.random() < 0.1:
        pairs.append(pair(b"x-death", _deaths(rng)))
    while sum(map(len, pairs)) > _ROOM:
        pairs.pop()
    return long(b"".join(pairs))


def _deaths(rng: Random) -> bytes:
    reason = rng.choice((b"expired", b"rejected", b"maxlen", b"delivery_limit", b"\xff"))
    one = pair(b"reason", b"S" + long(reason)) + pair(b"queue", b"S" + long(rng.choice(_TEXTS)))
    one += pair(b"count", rng.choice((b"l" + struct.pack(">q", rng.choice(_WHOLE)), value(rng))))
    death = rng.choice((b"F" + long(one), b"F" + long(b""), value(rng)))
    return rng.choice((b"A" + long(death * rng.choice((1, 3, 30))), death))


class Messages:
    """Makes messages: the same ones for the same ``seed``."""

    def __init__(self, seed: int) -> None:
        self._bodies = Bodies(seed)

    def make(self, number: int) -> Message:
        """Return message ``number``."""
        rng = self._bodies.rng(number, "message")
        kind = rng.choices(("known", "refusable", "passing"), (96, 3, 1))[0]
        if kind == "known":
            body = self._bodies.make(number)
            return Message(number, body.kind, body, Raw(body.data, _properties(rng), _key(rng)))
        body = self._bodies.good(rng, number)
        if kind == "passing":
            properties = _properties(rng) | {EXPIRATION: short(rng.choice((b"0", b"1", b"20")))}
            return Message(number, "passing", body, Raw(body.data, properties, _key(rng)), passing=True)
        made = rng.choice(_REFUSABLE)(rng, Raw(body.data, {HEADERS: headers(rng), MODE: b"\x02"}, "a.b"))
        may_expire = any(flag & EXPIRATION for flag in made.properties)
        return Message(number, "refusable", body, made, refusable=True, passing=may_expire)


def _key(rng: Random) -> str:
    return rng.choice(
        ("", "a", "nagios.poller1.check.resource.host1.disk", "#", "*.*", "." * 255, "é" * 127, "\0", "a b\n")
    )


def _properties(rng: Random) -> dict[int, bytes]:
    """Return properties that the broker takes, some of them."""
    texts = (b"", b"1", b"x" * 255, b"\xff" * 255, b"amq.rabbitmq.reply-to", b"\0")
    every = {
        CONTENT_TYPE: short(rng.choice(_TYPES)),
        ENCODING: short(rng.choice(_ENCODINGS)),
        HEADERS: headers(rng),
        MODE: bytes((rng.choice((1, 2)),)),
        PRIORITY: bytes((rng.choice((0, 9, 255)),)),
        CORRELATION: short(rng.choice(texts)),
        REPLY_TO: short(rng.choice(texts[:4])),
        EXPIRATION: short(rng.choice((b"86400000", b"4294967295"))),
        # Of one message only: with the same body it would be a redelivery.
        MESSAGE_ID: short(b"%x" % rng.getrandbits(64) + rng.choice((b"", b"\xff", b"\xc3\xa9", b"x" * 200, b"\0"))),
        TIMESTAMP: struct.pack(">Q", rng.choice(_TIMES)),
        TYPE: short(rng.choice(texts)),
        APP_ID: short(rng.choice(texts)),
        CLUSTER_ID: short(rng.choice(texts)),
    }
    return {flag: content for flag, content in every.items() if rng.random() < 0.35}


def _bad_expiration(rng: Random, raw: Raw) -> Raw:
    wrong = (b"", b"soon", b"-1", b"1.5", b"99999999999999999999", b"\xff", b" 1", b"1 ")
    return Raw(raw.body, raw.properties | {EXPIRATION: short(rng.choice(wrong))}, raw.key)


def _foreign_user(rng: Random, raw: Raw) -> Raw:
    return Raw(raw.body, raw.properties | {USER_ID: short(rng.choice((b"", b"admin", b"\xff")))}, raw.key)


def _more_routes(rng: Random, raw: Raw) -> Raw:
    routes = rng.choice((value(rng), b"A" + long(value(rng)), b"A" + long(b"S" + long(b"Engine_event_filter.00"))))
    return Raw(raw.body, raw.properties | {HEADERS: long(pair(rng.choice((b"CC", b"BCC")), routes))}, raw.key)


def _torn_headers(rng: Random, raw: Raw) -> Raw:
    table = bytearray(headers(rng)[4:] + pair(b"last", value(rng)))
    for _ in range(rng.randrange(1, 6)):
        table[rng.randrange(len(table))] = rng.randrange(256)
    length = len(table) if rng.random() < 0.5 else rng.choice((0, 1, 2**31, 2**32 - 1))
    return Raw(raw.body, raw.properties | {HEADERS: struct.pack(">I", length) + bytes(table)}, raw.key)


def _unknown_letter(rng: Random, raw: Raw) -> Raw:
    item = bytes((rng.choice(b"LUqZ\x00\xff"),)) + rng.randbytes(8)
    item = rng.choice((item, b"f" + struct.pack(">f", float("nan")), b"d" + struct.pack(">d", float("inf"))))
    return Raw(raw.body, raw.properties | {HEADERS: long(pair(b"odd", item))}, raw.key)


def _more_flags(rng: Random, raw: Raw) -> Raw:
    return Raw(raw.body, raw.properties | {MORE_FLAGS: rng.randbytes(rng.choice((0, 2, 9)))}, raw.key)


def _noise(rng: Random, raw: Raw) -> Raw:
    return Raw(raw.body, {rng.randrange(1 << 16): rng.randbytes(rng.randrange(200))}, raw.key)


def _odd_mode(rng: Random, raw: Raw) -> Raw:
    return Raw(raw.body, raw.properties | {MODE: bytes((rng.choice((0, 3, 255)),))}, raw.key)


def _large_headers(rng: Random, raw: Raw) -> Raw:
    table = long(pair(b"large", b"S" + long(b"x" * rng.choice((130_900, 131_000, 140_000, 1 << 20)))))
    return Raw(raw.body, raw.properties | {HEADERS: table}, raw.key)


def _odd_key(rng: Random, raw: Raw) -> Raw:
    return Raw(raw.body, raw.properties, rng.choice(("\udcff\udcfe", "\udc80" * 255)))


_REFUSABLE: tuple[Callable[[Random, Raw], Raw], ...] = (
    *(_bad_expiration, _foreign_user, _more_routes, _torn_headers, _torn_headers, _unknown_letter, _more_flags),
    *(_noise, _odd_mode, _large_headers, _odd_key),
)
