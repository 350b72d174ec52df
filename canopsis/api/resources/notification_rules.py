"""Notification rules: what they are, what they would tell, and a message that shows whether their receiver hears it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from flask import Response
from msgspec import structs

from canopsis.api.body import body_of
from canopsis.api.endpoints import Call, Resource
from canopsis.api.responses import many, one
from canopsis.api.rules import MOST_TRIED, Few, checked, crud_of, once_stored, parsed
from canopsis.core.alarm import Alarm
from canopsis.core.alert import facts_of
from canopsis.core.rules.kernel import make
from canopsis.core.rules.notification import KIND, NotificationRule, Telling
from canopsis.core.rules.rule import parse
from canopsis.errors import InputError, InvalidRule, RuleFailure
from canopsis.notifiers.notifier import MASK, notifier_of, notifiers
from canopsis.store import alarms, notifications
from canopsis.store.client import Store
from canopsis.store.operations import Document
from canopsis.store.query import Page
from canopsis.store.rules import RuleQuery, Stored

_LOG = logging.getLogger(__name__)

resource = Resource("notification_rules", service="notification_rules")

TEST = "test"


class Kind(msgspec.Struct):
    """A kind of notifier, with the JSON schema of its settings."""

    kind: str
    summary: str
    settings: dict[str, Any]


class _Masked(Stored[NotificationRule]):
    """The rules as they are shown; a secret that is sent as it is shown stays the one that is stored."""

    def listing(self, db: Store, query: RuleQuery) -> Page:
        page = super().listing(db, query)
        return replace(page, data=[_shown(each) for each in page.data])

    def get(self, db: Store, rule_id: str) -> Document | None:
        found = super().get(db, rule_id)
        return None if found is None else _shown(found)

    def put(self, db: Store, rule: NotificationRule, author: str, rev: int | None) -> Document | None:
        before = super().get(db, rule.id) or {}
        kept = before.get("settings", {}) if before.get("notifier") == rule.notifier else {}
        settings = notifier_of(rule.notifier).restored(rule.settings, kept)
        stored = super().put(db, structs.replace(rule, settings=settings), author, rev)
        return None if stored is None else _shown(stored)


def _shown(rule: Document) -> Document:
    settings = rule.get("settings", {})
    known = notifiers().things.get(rule["notifier"])
    return rule | {"settings": known.shown(settings) if known else dict.fromkeys(settings, MASK)}


for _name, _why in notifiers().broken.items():
    _LOG.error("nothing is told by the notifier %s, for it cannot be loaded: %s", _name, _why)


def _parsed(sent: Mapping[str, Any]) -> NotificationRule:
    """Return a rule that could be used. Raises InvalidRule, InputError."""
    # The notifier first: what it refuses shows no secret.
    _demand_settings(parse(NotificationRule, sent))
    return parsed(KIND, sent)


def _demand_settings(rule: NotificationRule) -> None:
    """Raise InvalidRule unless the notifier of ``rule`` takes its settings."""
    try:
        notifier_of(rule.notifier).read(rule.settings)
    except InputError as error:
        raise InvalidRule.of(rule.id, error) from None


_MASKED = _Masked(KIND.name)
_PLAIN = crud_of(KIND)
RULES = replace(
    _PLAIN,
    thing=replace(_PLAIN.thing, get=_MASKED.get),
    listing=_MASKED.listing,
    put=_MASKED.put,
    parse=_parsed,
)
RULES.declare(resource)


@resource.get("/notifiers", "List the kinds of notifiers, and their settings.", answer=Kind)
def kinds(_call: Call) -> Response:
    """Return the kinds of notifiers."""
    found = notifiers().things.values()
    return many([Kind(each.kind, each.summary, msgspec.json.schema(each.settings)) for each in found])


class RuleTrial(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which rules are tried on which alarms."""

    alarm_ids: Annotated[
        list[str], msgspec.Meta(min_length=1, max_length=MOST_TRIED, description="Ids of alarms, open or resolved.")
    ]
    rules: Annotated[
        Few, msgspec.Meta(description="Rules that are not stored yet, or are to replace stored ones.")
    ] = []
    alone: Annotated[bool, msgspec.Meta(description="Leave the rules out that are stored.")] = False


class Told(msgspec.Struct, omit_defaults=True):
    """What a rule would say of an alarm when one of ``on`` happens; ``failure`` is why it could not."""

    alarm_id: str
    rule: str
    on: list[str]
    subject: str = ""
    body: str = ""
    failure: str = ""


@resource.post(
    "/notification-rules/try",
    "Tell which rules match alarms as they are now, and what they would say; nothing is sent.",
    role="operator",
    body=body_of(RuleTrial),
    answer=Told,
)
def attempt(call: Call) -> Response:
    """Have alarms meet stored and given rules."""
    trial: RuleTrial = call.body
    for rule in checked(KIND, trial.rules, "rules"):
        _demand_settings(rule)
    found = make(KIND, once_stored(call, {KIND.name: trial.rules}, trial.alone)[KIND.name], {})
    alerts = [_alert(alarm) for alarm in _alarms(call, trial.alarm_ids)]
    return many([_told(each.act, alert) for alert in alerts for each in found.matching(alert, call.now)])


def _alarms(call: Call, alarm_ids: Sequence[str]) -> list[Alarm]:
    found = {alarm.id: alarm for alarm in call.ask(alarms.by_ids, alarm_ids)}
    for name in alarm_ids:
        if name not in found:
            raise InputError("alarm_ids", name, "ids of alarms; GET /api/v1/alarms lists them")
    return [found[name] for name in alarm_ids]


def _alert(alarm: Alarm) -> dict[str, Any]:
    """Return an alert in which nothing happens to an alarm."""
    event = {"event_id": "", "event_type": "check", "timestamp": alarm.last_event}
    return {"kind": "changed", "alarm_id": alarm.id, **event, "steps": [], "infos": {}} | facts_of(alarm)


def _told(telling: Telling, alert: Mapping[str, Any]) -> Told:
    on, rule = telling.rule.on, telling.rule.id
    steps = [{"type": word} for word in on]
    try:
        message = telling.message("", {**alert, "steps": steps})
    except RuleFailure as error:
        return Told(alert["alarm_id"], rule, on, failure=str(error))
    return Told(alert["alarm_id"], rule, on, message.subject, message.text)


class Queued(msgspec.Struct):
    """The test message: ``GET /api/v1/notifications/ID`` tells what came of it."""

    notification_id: str


_SAMPLE = Alarm(
    id=TEST,
    display_name="TEST-TEST",
    entity_id="component:test",
    source_type="component",
    connector="canopsis",
    connector_name="test",
    component="test",
    state=2,
    status=1,
    output="This is a test of a notification rule: nothing is wrong.",
    created=0.0,
    updated=0.0,
    last_event=0.0,
)


@resource.post(
    "/notification-rules/<rule_id>/test",
    "Send a test message by a rule that is stored.",
    role="admin",
    segments=RULES.thing.segments,
    answer=Queued,
    answers={202: "It will be sent; the notification says what came of it.", 404: RULES.thing.none},
)
def test(call: Call) -> Response:
    """Put a message into the outbox, of an alarm that is none."""
    rule = RULES.thing.find(call)
    now = call.now
    event_id = call.backend.new_id()
    facts = {"alarm_id": f"{TEST}-{event_id}", "event_id": event_id, "timestamp": now, "steps": [{"type": TEST}]}
    times = {"created": now, "updated": now}
    write = notifications.waiting(rule["id"], _alert(_SAMPLE) | facts | times, [TEST], now)
    call.ask(notifications.add, write)
    return one(Queued(write.document["_id"]), status=202)
