"""Notification rules: who is told of which alarms, when, and in which words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from canopsis.core.change import MOVES
from canopsis.core.event_types import EVENT_TYPES
from canopsis.core.event_types.check import Check
from canopsis.core.rules.kernel import Kind
from canopsis.core.rules.rule import Rule
from canopsis.core.rules.table import Tables
from canopsis.core.status import STATES
from canopsis.core.structs import prepare
from canopsis.core.template import Template
from canopsis.errors import InputError

OPENED, RESOLVED = "opened", "resolve"

HAPPENINGS = (
    OPENED,
    *MOVES.values(),
    *sorted(each.name for each in EVENT_TYPES.values() if each.act is not None and each.struct is not Check),
)
"""What a rule may tell of: that an alarm opened, and the types of its steps."""

SUBJECT = (
    "[{{ 'resolved' if 'resolve' in happened else state_name }}] "
    "{{ component }}{% if resource %}/{{ resource }}{% endif %}: {{ happened|join(', ') }}"
)
"""The subject of a rule that has no template of its own."""

MOST_SUBJECT = 500
"""Characters of a subject; it has one line."""


class NotificationRule(Rule, kw_only=True):
    """Tells by ``notifier`` of what happens to alarms that the pattern matches, of that which stands in ``on``.

    What ``settings`` may be is the notifier's to say.
    """

    on: Annotated[list[str], msgspec.Meta(min_length=1, max_length=50)]
    notifier: str
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    subject: str = SUBJECT
    body: str | None = None

    def check(self) -> None:
        """Raise InputError for what the types do not tell."""
        super().check()
        for place, word in enumerate(self.on):
            if word not in HAPPENINGS:
                raise InputError(f"on[{place}]", word, ", ".join(HAPPENINGS))


prepare(NotificationRule)


@dataclass(frozen=True, slots=True)
class Message:
    """A notification. ``id`` is the same when it is sent again.

    ``body`` is what the template of the rule made, None where the rule has none. ``alert`` is what happened: the alarm
    as it was then, and its new steps (``core.alert``), ``happened`` in words.
    """

    id: str
    rule: str
    happened: tuple[str, ...]
    subject: str
    body: str | None
    alert: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The body, or what people want to know where the rule has no template of it."""
        return self.body if self.body is not None else "\n".join(_lines(self))


def _lines(message: Message) -> Iterator[str]:
    alert = message.alert
    yield from (message.subject, "")
    yield from (str(alert[name]) for name in ("output", "long_output") if alert.get(name))
    yield ""
    for name in ("display_name", "connector", "connector_name", "component", "resource", "tags"):
        found = alert.get(name)
        if found:
            yield f"{name}: {', '.join(found) if isinstance(found, list) else found}"
    yield f"happened: {', '.join(message.happened)}"


@dataclass(frozen=True, slots=True)
class Telling:
    """A rule made ready: what it tells of, and in which words."""

    rule: NotificationRule
    on: frozenset[str]
    subject: Template
    body: Template | None

    def message(self, notification_id: str, alert: Mapping[str, Any]) -> Message:
        """Return what is sent of ``alert``. Raises RuleFailure where a template cannot be filled in."""
        words = self.tells(alert)
        facts = {"rule": self.rule.id, "happened": list(words), "state_name": STATES[alert["state"]]}
        values = dict(alert) | facts
        subject = " ".join(self.subject.render(values).split())[:MOST_SUBJECT]
        body = self.body.render(values) if self.body is not None else None
        return Message(notification_id, self.rule.id, words, subject, body, alert)

    def tells(self, alert: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what of ``alert`` the rule tells, in the order in which it happened; all when it tells of nothing."""
        words = happened(alert)
        return tuple(word for word in words if word in self.on) or words


def happened(alert: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what happened to an alarm, in words."""
    words = [OPENED] if alert["kind"] == OPENED else []
    return tuple(dict.fromkeys([*words, *(step["type"] for step in alert["steps"])]))


def _ready(rule: NotificationRule, _tables: Tables) -> Telling:
    body = None if rule.body is None else Template(rule.body, "body")
    return Telling(rule, frozenset(rule.on), Template(rule.subject, "subject"), body)


KIND: Kind[NotificationRule, Telling] = Kind(
    "notification-rule", NotificationRule, _ready, noun="notification rule", columns=("on", "notifier")
)
