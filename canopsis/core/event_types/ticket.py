"""Tickets: an alarm is declared to another system, or a ticket there belongs to it."""

from __future__ import annotations

from canopsis.core import fields
from canopsis.core.alarm import Alarm, Ticket
from canopsis.core.change import Change, Draft, LifecycleRules, speaker
from canopsis.core.event import Action, event_type
from canopsis.core.event_types.declaration import EventType, Field, never

KEPT = 20
"""Tickets of an alarm; of more the oldest are in its steps alone."""


class TicketAction(Action):
    """What both say of a ticket: a base, no type itself."""

    ticket: str = ""
    ticket_system: str = ""
    ticket_url: str = ""


class AssocTicket(TicketAction, tag="assocticket"):
    """``ticket`` of another system belongs to the open alarm."""


class DeclareTicket(TicketAction, tag="declareticket"):
    """The open alarm was declared to another system; its ``ticket`` may be known, or follow by an ``assocticket``."""


def _ticket(event: TicketAction, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    draft = Draft(event, alarm, now)
    ticket = Ticket(speaker(event), event.output, draft.t, event.ticket, event.ticket_system, event.ticket_url)
    draft.set(ticket=ticket, tickets=[*alarm.tickets, ticket][-KEPT:])
    message = ": ".join(text for text in (event.ticket, event.output) if text)
    draft.step(event_type(event), speaker(event), alarm.state, message)
    return draft.change()


def _text(name: str, limit: int, what: str) -> Field:
    return Field(fields.text_check(name, limit), {"type": "string", "description": f"{what}; of a ticket."}, what)


_FIELDS = {
    "ticket": _text("ticket", 255, "number of a ticket"),
    "ticket_system": _text("ticket_system", 255, "system that a ticket is in"),
    "ticket_url": _text("ticket_url", 1024, "address of a ticket"),
}

DECLARED = (
    EventType(DeclareTicket, "Say that another system has a ticket of it.", _FIELDS, act=_ticket, objection=never),
    EventType(AssocTicket, "Say which ticket belongs to an alarm.", _FIELDS, ("ticket",), act=_ticket, objection=never),
)
