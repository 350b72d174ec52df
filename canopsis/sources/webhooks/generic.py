"""Any tool that sends JSON: the mappers that users write say what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from canopsis.core.rules.mapper import KIND, mapped
from canopsis.sources.webhook import Arrival, ByRule, Source


def _map(payload: Any, arrival: Arrival) -> Iterator[ByRule]:  # noqa: ANN401 - JSON is anything
    for each in mapped(arrival.rules, payload, arrival.name, arrival.now):
        yield ByRule(each.mapper, each.found)


SOURCE = Source("generic", "Any JSON, by a mapper that you write", _map, rules=KIND)
