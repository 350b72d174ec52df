"""Check: the state of an entity. One that is not OK opens an alarm."""

from __future__ import annotations

from msgspec import structs

from canopsis.core import fields
from canopsis.core.alarm import Alarm, Step
from canopsis.core.change import Change, Draft, LifecycleRules, alarm_id, display_name, is_ahead, shortened, speaker
from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType, Field
from canopsis.core.status import status_of


class Check(Event, tag="check"):
    """The state of an entity: 0 OK, 1 warning, 2 critical, 3 unknown; ``state_type`` 0 soft, 1 hard.

    ``late`` is set by the alarm engine: the check is older than the newest one of its entity.
    """

    state: int = 0
    state_type: int = 1
    late: bool = False


def is_same(event: Check, alarm: Alarm) -> bool:
    """Tell whether a check says what the alarm says already."""
    return (
        _state(event, alarm) == alarm.state and event.output == alarm.output and event.long_output == alarm.long_output
    )


def _state(event: Check, alarm: Alarm) -> int:
    """Return the state that an alarm gets by a check: the one that an operator set until a check is OK."""
    return alarm.state if event.state and alarm.state_lock is not None else event.state


def opened(event: Check, now: float) -> Change:
    """Return the change that opens an alarm."""
    author, output, t, state = speaker(event), event.output, min(event.timestamp, now), event.state
    status = status_of(state, cancelled=False)
    message = shortened(output)
    steps = [
        Step("stateinc", t, author, message, state, event.event_id),
        Step("statusinc", t, author, message, status, event.event_id),
    ]
    own_id = alarm_id(event.entity_id, event.event_id)
    alarm = Alarm(
        id=own_id,
        display_name=display_name(own_id),
        entity_id=event.entity_id,
        source_type=event.source_type,
        connector=event.connector,
        connector_name=event.connector_name,
        component=event.component,
        resource=event.resource,
        state=state,
        status=status,
        output=output,
        long_output=event.long_output,
        initial_output=output,
        created=t,
        updated=t,
        last_event=t,
        events_count=1,
        tags=event.tags,
        steps=steps,
    )
    return Change("opened", alarm, tuple(steps), _ALL_FIELDS)


_ALL_FIELDS = frozenset(Alarm.__struct_fields__) - {"steps"}


def _check(event: Check, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    at = min(event.timestamp, now)
    if is_same(event, alarm) and not is_ahead(alarm, now):
        return _seen(at, alarm)
    draft = Draft(event, alarm, now)
    draft.set(output=event.output, long_output=event.long_output, last_event=at, events_count=alarm.events_count + 1)
    draft.put_right()
    state = _state(event, alarm)
    draft.set(state_lock=alarm.state_lock if event.state else None)
    draft.move("state", state)
    draft.move("status", status_of(state, alarm.cancel is not None))
    return draft.change()


def _seen(at: float, alarm: Alarm) -> Change:
    seen = structs.replace(alarm, last_event=at, events_count=alarm.events_count + 1)
    return Change("seen", seen, (), _SEEN)


_SEEN = frozenset({"last_event", "events_count"})


STATE = Field(
    fields.state,
    {
        "enum": [0, 1, 2, 3],
        "description": "0 OK, 1 warning, 2 critical, 3 unknown. Of a check or a changestate.",
    },
    "0 OK, 1 warning, 2 critical, 3 unknown",
)
_STATE_TYPE = Field(
    fields.state_type, {"enum": [0, 1], "default": 1, "description": "0 soft, 1 hard."}, "0 soft, 1 hard"
)

DECLARED = (
    EventType(
        Check,
        "The state of an entity.",
        {"state": STATE, "state_type": _STATE_TYPE},
        required=("state",),
        act=_check,
    ),
)
