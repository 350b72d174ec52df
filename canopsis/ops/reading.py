"""Events read from a text: JSON of any layout, a JSON object a line, or CSV with a header."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from canopsis.errors import InputError

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A place in the text that is no event. ``line`` counts from 1."""

    line: int
    reason: str


Found = Event | Unreadable


def read_json(lines: Iterable[str]) -> Iterator[Found]:
    """Yield the events of a JSON object, an array, or one of these a line (given on as they come)."""
    iterator = enumerate(lines, 1)
    first = next(((number, line) for number, line in iterator if line.strip()), None)
    if first is None:
        return
    if _decode(first[1]) is None:
        yield from _spread(first[1] + "".join(line for _, line in iterator))
        return
    yield from _of_line(*first)
    for number, line in iterator:
        if line.strip():
            yield from _of_line(number, line)


def read_csv(lines: Iterable[str]) -> Iterator[Found]:
    """Yield an event a row; the header names the fields, an empty cell is a field that is absent.

    ``tags`` holds several, separated by blanks. Raises InputError when the header is of no use.
    """
    reader = csv.DictReader(lines, strict=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        if "component" not in header or not all(header) or len(set(header)) < len(header):
            raise InputError("CSV header", ",".join(header), "names of fields, each once, component among them")
        for row in reader:
            yield _of_row(reader.line_num, row)
    except csv.Error as error:
        yield Unreadable(reader.line_num, f"not CSV: {error}")


def _of_row(line: int, row: dict[str | Any, Any]) -> Found:
    if None in row or None in row.values():
        return Unreadable(line, "more or fewer cells than the header has")
    event: Event = {name.strip(): value for name, value in row.items() if value != ""}
    if "tags" in event:
        event["tags"] = event["tags"].split()
    return event


def _of_line(number: int, line: str) -> Iterator[Found]:
    value = _decode(line)
    items = value if isinstance(value, list) else [value]
    for item in items:
        yield item if isinstance(item, dict) else Unreadable(number, "not a JSON object, nor an array of them")


def _spread(text: str) -> Iterator[Found]:
    """Yield the events of one JSON value that spans lines, or of several one after the other."""
    decoder, at = json.JSONDecoder(parse_constant=_refuse), 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            yield Unreadable(text.count("\n", 0, at) + 1, f"not JSON: {error}")
            return
        line = text.count("\n", 0, at) + 1
        for item in value if isinstance(value, list) else [value]:
            yield item if isinstance(item, dict) else Unreadable(line, "not a JSON object, nor an array of them")
        at += len(text[at:]) - len(text[at:].lstrip())


def _decode(line: str) -> object:
    """Return the JSON value that ``line`` is, or None."""
    try:
        return json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not a number of JSON")
