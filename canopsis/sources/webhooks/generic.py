"""Any tool that sends JSON: the mappers that users write say what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from canopsis.core.rules.mapper import KIND, mapped
from canopsis.errors import InvalidEvent
from canopsis.sources.webhook import Arrival, Raw, Source


def _map(payload: Any, arrival: Arrival) -> Iterator[Raw | InvalidEvent]:  # noqa: ANN401 - JSON is anything
    for each in mapped(arrival.rules, payload, arrival.name, arrival.now):
        yield each.found


SOURCE = Source("generic", "Any JSON, by a mapper that you write", _map, rules=KIND)
