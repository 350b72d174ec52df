"""Bad input of every kind: what is sent, and the field that the refusal names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

GOOD: dict[str, Any] = {
    "event_type": "check",
    "connector": "test",
    "connector_name": "bad",
    "component": "bad-input",
    "resource": "r",
    "source_type": "resource",
    "state": 0,
    "output": "fine",
}


@dataclass(frozen=True, slots=True)
class Bad:
    """A body that is refused. ``http`` and ``amqp`` say where it is; ``queue`` is another queue than the cleaner's."""

    name: str
    body: bytes
    field: str
    http: bool = True
    amqp: bool = True
    queue: str = ""


def event(**changes: object) -> bytes:
    """Return a good event with changes; a change to None takes the field away."""
    return json.dumps({name: value for name, value in (GOOD | changes).items() if value is not None}).encode()


def deep(levels: int) -> bytes:
    """Return a good event whose ``extra`` key is nested ``levels`` deep."""
    return event()[:-1] + b', "more": ' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


def perf(**changes: object) -> bytes:
    """Return a good event with one item of perf data, changed."""
    return event(perf_data_array=[{"metric": "m", "value": 1} | changes])


def _collectd(name: str, body: bytes, field: str) -> Bad:
    return Bad(f"collectd: {name}", body, field, http=False, queue="Engine_collectdgw")


BODY = (
    Bad("empty body", b"", "body"),
    Bad("not JSON", b"state=2", "body"),
    Bad("half a JSON object", event()[:-9], "body"),
    Bad("two JSON objects", event() + event(), "body"),
    Bad("bad UTF-8", event(output="X").replace(b'"X"', b"\xff\xfe"), "body"),
    Bad("NaN", event(state=0).replace(b'"state": 0', b'"state": NaN'), "state"),
    Bad("a number", b"7", "body"),
    Bad("a text", b'"check"', "body"),
    Bad("null", b"null", "body"),
    Bad("an empty array", b"[]", "body"),
    Bad("an array of arrays", b"[[" + event() + b"]]", "[0]"),
    Bad("an array of numbers", b"[1, 2]", "[0]"),
    Bad("nested 100,000 deep", deep(100_000), "body"),
    Bad("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "body"),
)

FIELDS = (
    Bad("state 7", event(state=7), "state"),
    Bad("state -1", event(state=-1), "state"),
    Bad("state abc", event(state="abc"), "state"),
    Bad("state 1.5", event(state=1.5), "state"),
    Bad("state a list", event(state=[2]), "state"),
    Bad("no component", event(component=None), "component"),
    Bad("an empty component", event(component=""), "component"),
    Bad("NUL in component", event(component="a\0b"), "component"),
    Bad("a newline in resource", event(resource="a\nb"), "resource"),
    Bad("no resource", event(resource=None), "resource"),
    Bad("no connector", event(connector=None), "connector"),
    Bad("no connector_name", event(connector_name=None), "connector_name"),
    Bad("unknown event_type", event(event_type="chekc"), "event_type"),
    Bad("a routing key of 300 bytes", event(component="é" * 150), "routing_key"),
    Bad("a check without a state", event(state=None), "state"),
    # The alarm engine publishes this one itself.
    Bad("a resolve from outside", event(event_type="resolve", state=None), "event_type", amqp=False),
)

MENDED = (
    ("state_type 3", event(state_type=3), "state_type"),
    ("component a number", event(component=5), "component"),
    ("unknown source_type", event(source_type="host"), "source_type"),
    ("a date in milliseconds", event(timestamp=1_795_521_600_000), "timestamp"),
    ("an event_id with blanks", event(event_id="a b"), "event_id"),
    ("nested 500 deep", deep(500), "more"),
    ("a byte that is not UTF-8", event(output="X").replace(b"X", b"\xff"), "output"),
    ("perf data with a word as value", event(perf_data="load=high"), "perf_data"),
    ("perf_data_array with a word as value", perf(value="high"), "perf_data_array[0].value"),
)
"""Events that are taken, with a warning that names the field."""

COLLECTD = (
    _collectd("empty", b"", "body"),
    _collectd("another command", b"GETVAL h1/cpu-0/cpu-user", "PUTVAL"),
    _collectd("no values", b"PUTVAL h1/cpu-0/cpu-user interval=10", "PUTVAL"),
    _collectd("a word as value", b"PUTVAL h1/cpu-0/cpu-user interval=10 1795517645:high", "PUTVAL values"),
    _collectd("no type", b"PUTVAL h1/cpu-0 interval=10 1795517645:1", "PUTVAL identifier"),
    _collectd("too many values", b"PUTVAL h1/cpu-0/cpu-user interval=10 1795517645:1:2:3", "values"),
    _collectd("bad UTF-8", b"PUTVAL h\xff/cpu-0/cpu-user interval=10 1795517645:1", "PUTVAL"),
    _collectd("broken JSON", b'[{"values": [1]', "body"),
)

ALL = (*BODY, *FIELDS, *COLLECTD)
