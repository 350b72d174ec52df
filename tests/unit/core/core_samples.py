"""Events, alarms and strategies that the tests of core share."""

from __future__ import annotations

import unicodedata
from typing import Any, TypeVar

from hypothesis import strategies as st

from canopsis.core import lifecycle
from canopsis.core.alarm import Alarm
from canopsis.core.change import Change, LifecycleRules
from canopsis.core.event import Event
from canopsis.core.event_types import EVENT_TYPES
from canopsis.core.event_types.check import Check
from canopsis.core.normalise import normalise

_E = TypeVar("_E", bound=Event)

NOW = 1_700_000_000.0

RULES = LifecycleRules(resolve_delay=60, cancel_resolve_delay=3600)

TYPES: tuple[type[Event], ...] = tuple(each.struct for each in EVENT_TYPES.values())


def raw_check(**changes: Any) -> dict[str, Any]:
    """Return a good check of a resource as a source sends it; a field of ``None`` is left out."""
    raw: dict[str, Any] = {
        "event_type": "check",
        "connector": "nagios",
        "connector_name": "nag1",
        "component": "srv1",
        "resource": "disk",
        "source_type": "resource",
        "timestamp": 1_699_999_000,
        "state": 2,
        "output": "DISK CRITICAL",
    }
    raw.update(changes)
    return {key: value for key, value in raw.items() if value is not None}


def good(**changes: Any) -> Event:
    """Return the normalised event of ``raw_check``."""
    return normalise(raw_check(**changes), NOW)


def check(state: int, at: float, event_id: str, output: str = "", **more: Any) -> Check:
    """Return a check of the entity ``component:srv1``, ``at`` seconds after the start of the test."""
    return Check(
        connector="nagios",
        connector_name="nag1",
        component="srv1",
        entity_id="component:srv1",
        state=state,
        timestamp=NOW + at,
        event_id=event_id,
        output=output,
        **more,
    )


def act(kind: type[_E], at: float, event_id: str, author: str = "ann", output: str = "", **more: Any) -> _E:
    """Return what an operator does to the alarm of ``component:srv1``."""
    return kind(
        connector="canopsis",
        connector_name="api",
        component="srv1",
        entity_id="component:srv1",
        timestamp=NOW + at,
        event_id=event_id,
        author=author,
        output=output,
        **more,
    )


LATER = NOW + 1_000_000
"""A time after all events of a test."""


def apply(
    event: Event,
    alarm: Alarm | None,
    rules: LifecycleRules = RULES,
    now: float = LATER,
    newest: float | None = None,
) -> Change | None:
    """Apply ``event``, by default after all times that it may tell."""
    return lifecycle.apply(event, alarm, rules, now, newest)


def run(*events: Event, alarm: Alarm | None = None, rules: LifecycleRules = RULES) -> list[Change | None]:
    """Apply ``events`` one after the other and return what each did."""
    changes: list[Change | None] = []
    for event in events:
        change = apply(event, alarm, rules)
        changes.append(change)
        if change is not None:
            alarm = change.alarm
    return changes


def alarm_after(*events: Event, alarm: Alarm | None = None, rules: LifecycleRules = RULES) -> Alarm:
    """Return the alarm after ``events``; there must be one."""
    last = [change for change in run(*events, alarm=alarm, rules=rules) if change is not None][-1]
    return last.alarm


def steps_of(alarm: Alarm) -> list[tuple[str, int]]:
    """Return type and value of each step."""
    return [(step.type, step.value) for step in alarm.steps]


texts = st.text(st.characters(codec="utf-8"), max_size=40)
any_texts = st.text(st.characters(), max_size=40)
"""With halves of surrogate pairs, which no JSON in UTF-8 can hold but Python can."""

scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_texts
anything = st.recursive(
    scalars | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_texts | st.integers(), inner, max_size=4),
    max_leaves=12,
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12).map(
    # As names are stored: a letter that Unicode has twice is read back as the other one.
    lambda name: unicodedata.normalize("NFC", name)
)
storable_keys = names.filter(lambda key: "." not in key and not key.startswith("$"))
finite = st.floats(allow_nan=False, allow_infinity=False)
