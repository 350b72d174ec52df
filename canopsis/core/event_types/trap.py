"""SNMP traps: stored, and no more; what they mean is for rules to say."""

from __future__ import annotations

from canopsis.core import fields
from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType, Field
from canopsis.core.text import MAX_NAME


class Trap(Event, tag="trap"):
    """An SNMP trap, its fields as texts."""

    snmp_oid: str = ""
    snmp_severity: str = ""
    snmp_state: str = ""


def _text(name: str, what: str) -> Field:
    return Field(fields.text_check(name, MAX_NAME), {"type": "string", "description": f"{what}; of a trap."}, what)


DECLARED = (
    EventType(
        Trap,
        "An SNMP trap.",
        {
            "snmp_oid": _text("snmp_oid", "object identifier of a trap"),
            "snmp_severity": _text("snmp_severity", "severity of a trap, as it says it"),
            "snmp_state": _text("snmp_state", "state of a trap, as it says it"),
        },
    ),
)
