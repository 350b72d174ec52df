"""Tickets of other systems."""

from __future__ import annotations

import pytest
from core_samples import NOW, act, alarm_after, check, good, steps_of

from canopsis.core.alarm import Ticket
from canopsis.core.event_types.ticket import KEPT, AssocTicket, DeclareTicket
from canopsis.errors import InvalidEvent

ALARM = alarm_after(check(2, 0, "e1"))


def test_case_17_a_ticket_belongs_to_an_alarm() -> None:
    event = act(AssocTicket, 5, "t1", output="disks", ticket="INC-7", ticket_system="itop", ticket_url="https://t/7")
    alarm = alarm_after(event, alarm=ALARM)
    assert alarm.ticket == Ticket("ann", "disks", NOW + 5, "INC-7", "itop", "https://t/7")
    assert alarm.tickets == [alarm.ticket]
    assert (steps_of(alarm)[-1], alarm.steps[-1].message) == (("assocticket", 2), "INC-7: disks")
    assert alarm.updated == ALARM.updated


def test_b08_a_declared_one_gets_its_number_later() -> None:
    declared = alarm_after(act(DeclareTicket, 5, "t1", output="please"), alarm=ALARM)
    assert declared.ticket == Ticket("ann", "please", NOW + 5)
    known = alarm_after(act(AssocTicket, 9, "t2", "itop", ticket="INC-8"), alarm=declared)
    assert known.ticket == Ticket("itop", "", NOW + 9, "INC-8")
    assert known.tickets == [declared.ticket, known.ticket]
    assert [kind for kind, _ in steps_of(known)[-2:]] == ["declareticket", "assocticket"]


def test_the_newest_tickets_are_kept() -> None:
    events = [act(AssocTicket, at, f"t{at}", ticket=str(at)) for at in range(KEPT + 5)]
    alarm = alarm_after(*events, alarm=ALARM)
    assert [ticket.number for ticket in alarm.tickets] == [str(at) for at in range(5, KEPT + 5)]


def test_a_ticket_has_a_number() -> None:
    with pytest.raises(InvalidEvent, match="ticket: missing; an assocticket event has"):
        good(event_type="assocticket", state=None)
    named, declared = (
        good(event_type="assocticket", state=None, ticket=4711),
        good(event_type="declareticket", state=None),
    )
    assert isinstance(named, AssocTicket)
    assert isinstance(declared, DeclareTicket)
    assert (named.ticket, declared.ticket) == ("4711", "")
