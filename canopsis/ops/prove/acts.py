"""What operators do to an open alarm, each by the type of its event. Plain readings of docs/prove.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from canopsis.ops.prove.alarm import Alarm, Fields, Mark, Snooze, Ticket

MOST_TICKETS = 20
"""Tickets that an alarm shows; the others are in its steps alone."""

Act = Callable[[Alarm, Fields, float], Alarm | None]
"""Returns the alarm after the event, at the time of its step, without the step; None where nothing is to be done."""


def author_of(event: Fields) -> str:
    """Return who says so."""
    return str(event.get("author") or f"{event['connector']}.{event['connector_name']}")


def _mark(event: Fields, t: float) -> Mark:
    return Mark(author_of(event), event.get("output", ""), t)


def _ack(alarm: Alarm, event: Fields, t: float) -> Alarm | None:
    mark = _mark(event, t)
    return None if alarm.ack and alarm.ack[:2] == mark[:2] else replace(alarm, ack=mark)


def _ackremove(alarm: Alarm, _event: Fields, _t: float) -> Alarm | None:
    return replace(alarm, ack=None) if alarm.ack else None


def _cancel(alarm: Alarm, event: Fields, t: float) -> Alarm | None:
    return None if alarm.cancel else replace(alarm, cancel=_mark(event, t))


def _uncancel(alarm: Alarm, _event: Fields, _t: float) -> Alarm | None:
    return replace(alarm, cancel=None) if alarm.cancel else None


def _comment(alarm: Alarm, event: Fields, t: float) -> Alarm | None:
    return replace(alarm, last_comment=_mark(event, t))


def _changestate(alarm: Alarm, event: Fields, t: float) -> Alarm | None:
    if not alarm.state or (alarm.lock and alarm.state == event["state"]):
        return None
    return replace(alarm, state=event["state"], updated=t, lock=_mark(event, t))


def _snooze(alarm: Alarm, event: Fields, t: float) -> Alarm | None:
    return None if alarm.snooze else replace(alarm, snooze=Snooze(*_mark(event, t), t + event["duration"]))


def _unsnooze(alarm: Alarm, _event: Fields, _t: float) -> Alarm | None:
    return replace(alarm, snooze=None) if alarm.snooze else None


def _ticket(alarm: Alarm, event: Fields, t: float) -> Alarm | None:
    details = [event.get(name, "") for name in ("ticket", "ticket_system", "ticket_url")]
    ticket = Ticket(*_mark(event, t), *details)
    return replace(alarm, ticket=ticket, tickets=(*alarm.tickets, ticket)[-MOST_TICKETS:])


ACTS: dict[str, Act] = {
    "ack": _ack,
    "ackremove": _ackremove,
    "cancel": _cancel,
    "uncancel": _uncancel,
    "comment": _comment,
    "changestate": _changestate,
    "snooze": _snooze,
    "unsnooze": _unsnooze,
    "declareticket": _ticket,
    "assocticket": _ticket,
}


def value_of(event: Fields, after: Alarm) -> int:
    """Return the value of the step of an action that left ``after``: when a snooze ends, else the state."""
    return int(after.snooze.until) if event["event_type"] == "snooze" and after.snooze else after.state


def message_of(event: Fields) -> str:
    """Return the message of the step of an action: of a ticket with its number."""
    return ": ".join(text for text in (event.get("ticket", ""), event.get("output", "")) if text)
