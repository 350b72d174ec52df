"""Notifications: what happens to alarms meets the rules that tell of it; what is to be told goes into the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from canopsis.core.envelope import Decision
from canopsis.core.event import Event
from canopsis.core.rules.kernel import Ready, RuleSet
from canopsis.core.rules.notification import KIND, RESOLVED, NotificationRule, Telling, happened
from canopsis.runtime.contract import Batch, Context, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.store import notifications
from canopsis.store.live_rules import LiveRules
from canopsis.store.rules import RuleCount

Alert = dict[str, Any]
Rules = RuleSet[NotificationRule, Telling]
Matched = Ready[NotificationRule, Telling]

_APART = 1e-6
"""Seconds between two notifications of a batch: what comes later is told later."""


class NotificationEngine(Engine):
    """Stands behind the alarm engine, and reads what that told of the events. Sending is another engine's."""

    def __init__(self) -> None:
        self._rules = LiveRules(KIND)

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event; write what is to be told. Raises StoreError."""
        effects = Effects(forward=list(batch.events))
        alerts = batch.envelope.alerts
        rules = self._rules.current(ctx) if alerts else None
        if rules is None or not rules.rules:
            return effects
        changed = [(event, alerts[event.event_id]) for event in batch.events if event.event_id in alerts]
        outbox = _Outbox(rules, _told(rules, [alert for _, alert in changed], ctx), effects, ctx.now)
        for event, alert in changed:
            known = batch.envelope.entity(event.entity_id)
            outbox.add(event, alert | {"infos": known.infos})
        return effects


def _told(rules: Rules, alerts: Sequence[Alert], ctx: Context) -> set[tuple[str, str]]:
    """Return which alarms that end now which rules have told of."""
    ended = {alert["alarm_id"] for alert in alerts if RESOLVED in happened(alert)}
    if not ended or not any(RESOLVED in each.act.on for each in rules.rules):
        return set()
    return ctx.ask(notifications.told, ended)


class _Outbox:
    """What the notifications of one batch are made of. ``told`` are alarms and the rules that told of them."""

    def __init__(self, rules: Rules, told: set[tuple[str, str]], effects: Effects, now: float) -> None:
        self._rules = rules
        self._told = told
        self._effects = effects
        self._now = now
        self._count = 0

    def add(self, event: Event, alert: Alert) -> None:
        """Write the notifications of one alert."""
        for ready in list(self._telling(alert)):
            rule, words = ready.rule.id, ready.act.tells(alert)
            at = self._now + self._count * _APART
            self._count += 1
            write = notifications.waiting(rule, alert, words, at)
            self._effects.write.setdefault(notifications.COLLECTION, []).append(write)
            self._told.add((alert["alarm_id"], rule))
            self._effects.envelope.note(event, Decision("notification", "told", rule, ", ".join(words)))
            self._effects.rules.setdefault((KIND.name, rule), RuleCount()).add(RuleCount(matched=1, at=self._now))

    def _telling(self, alert: Alert) -> Iterator[Matched]:
        """Yield the rules that tell of ``alert``: nothing of a snoozed alarm but that it is snoozed, and its end.

        The end is told by the rules that told of the alarm before, whatever it is like now.
        """
        words = set(happened(alert))
        if RESOLVED in words:
            ours = (each for each in self._rules.rules if each.act.on > {RESOLVED})
            yield from (each for each in ours if (alert["alarm_id"], each.rule.id) in self._told)
        elif alert["snooze"] is not None and "snooze" not in words:
            return
        for each in self._rules.matching(alert, self._now):
            if words & each.act.on and (RESOLVED not in words or each.act.on == {RESOLVED}):
                yield each


MANIFEST = Manifest(
    "notification",
    lambda _options, _partitions: NotificationEngine(),
    place=Place(after=("alarm",), before=("perfdata", "eventstore")),
)
