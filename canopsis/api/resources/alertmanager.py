"""Open alarms in the form of Alertmanager's API v2, for the programs that read it: Nagstamon, karma, ``amtool``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from flask import Response
from msgspec import convert

from canopsis import __version__
from canopsis.api.endpoints import Call, Resource
from canopsis.api.responses import bare
from canopsis.core import regex
from canopsis.core.alarm import Alarm
from canopsis.core.parameters import flag, repeated, text
from canopsis.core.status import STATES
from canopsis.errors import InputError
from canopsis.store import alarms
from canopsis.store.alarms import AlarmQuery
from canopsis.store.query import Paging

resource = Resource("alertmanager", service="alertmanager", prefix="/api/v2")

MOST = 10_000
"""Alarms of one answer: its readers know no pages."""

_PAGE = 1000

ENDS_IN = 300.0
"""Seconds after which a reader may take an alert for over that it hears nothing of."""

_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"]*))\s*')
_ALLOWED = 'name="text", name!="text", name=~"expression" or name!~"expression"'


class Filter(msgspec.Struct, frozen=True):
    """Which labels, as Alertmanager has it."""

    filter: Annotated[list[str] | None, repeated("A matcher of labels.", _ALLOWED)] = None


class AlertsQuery(Filter, frozen=True):
    """Which alerts, as Alertmanager has it."""

    active: Annotated[bool, flag("With those that are active.")] = True
    silenced: Annotated[bool, flag("With those that are snoozed.")] = True
    inhibited: Annotated[bool, flag("Taken, and without effect: no alarm inhibits another.")] = True
    unprocessed: Annotated[bool, flag("Taken, and without effect.")] = True
    receiver: Annotated[str | None, text("Taken, and without effect.")] = None


class Status(msgspec.Struct):
    """Whether an alert is active, or suppressed by a silence."""

    state: str
    silencedBy: list[str]  # noqa: N815 - the form of Alertmanager
    inhibitedBy: list[str]  # noqa: N815 - the form of Alertmanager


class Alert(msgspec.Struct):
    """An open alarm as an alert."""

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str  # noqa: N815 - the form of Alertmanager
    endsAt: str  # noqa: N815 - the form of Alertmanager
    updatedAt: str  # noqa: N815 - the form of Alertmanager
    generatorURL: str  # noqa: N815 - the form of Alertmanager
    receivers: list[dict[str, str]]
    status: Status


@resource.get(
    "/alerts", "List open alarms as alerts of Alertmanager.", query=AlertsQuery, answer=list[Alert], bare=True
)
def alerts(call: Call) -> Response:
    """Return the alerts that all matchers match."""
    query: AlertsQuery = call.query
    now = call.now
    shown = (alarm for alarm in _open(call) if (query.silenced if alarm.snooze else query.active))
    return bare([_alert(alarm, now) for alarm in shown])


@resource.get("/silences", "List snoozed alarms as silences of Alertmanager.", query=Filter, answer=Any, bare=True)
def silences(call: Call) -> Response:
    """Return a silence for each alarm that is snoozed and that all matchers match."""
    return bare([_silence(alarm) for alarm in _open(call) if alarm.snooze is not None])


@resource.get("/status", "Show the version in the form of Alertmanager.", answer=Any, bare=True)
def status(call: Call) -> Response:
    """Return what its readers want to know first."""
    unknown = dict.fromkeys(("branch", "buildDate", "buildUser", "goVersion", "revision"), "")
    version = unknown | {"version": __version__}
    moment = _time(call.now)
    cluster = {"name": "canopsis", "status": "ready", "peers": []}
    return bare({"cluster": cluster, "versionInfo": version, "config": {"original": ""}, "uptime": moment})


def _open(call: Call) -> Iterator[Alarm]:
    """Yield the open alarms that all matchers of a request match. Raises InputError, StoreError."""
    wanted = [_matcher(each) for each in call.query.filter or ()]
    count, after = 0, ""
    while count < MOST:
        page = call.ask(alarms.listing, AlarmQuery(paging=Paging(0, _PAGE, "created", call.weigh, after)))
        found = (convert(document, Alarm) for document in page.data)
        yield from (alarm for alarm in found if all(matches(_labels(alarm)) for matches in wanted))
        if page.next is None:
            return
        count, after = count + len(page.data), str(page.next)


def _labels(alarm: Alarm) -> dict[str, str]:
    found = {"alertname": alarm.resource or alarm.component, "instance": alarm.component}
    found["severity"] = STATES[alarm.state]
    found |= {"connector": alarm.connector, "connector_name": alarm.connector_name, "entity_id": alarm.entity_id}
    for tag in alarm.tags:
        name, colon, value = tag.partition(":")
        if colon and re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
            found.setdefault(name, value)
    return found


def _alert(alarm: Alarm, now: float) -> Alert:
    annotations = {"summary": alarm.output, "description": alarm.long_output, "display_name": alarm.display_name}
    if alarm.ack is not None:
        annotations["acknowledged_by"] = alarm.ack.author
    silenced = [alarm.id] if alarm.snooze is not None else []
    return Alert(
        alarm.id,
        _labels(alarm),
        {name: value for name, value in annotations.items() if value},
        _time(alarm.created),
        _time(now + ENDS_IN),
        _time(alarm.last_event),
        "",
        [{"name": "canopsis"}],
        Status("suppressed" if silenced else "active", silenced, []),
    )


def _silence(alarm: Alarm) -> dict[str, Any]:
    mark = alarm.snooze
    assert mark is not None  # noqa: S101 - of those alone
    matchers = [{"name": "entity_id", "value": alarm.entity_id, "isRegex": False, "isEqual": True}]
    times = {"startsAt": _time(mark.t), "endsAt": _time(mark.until), "updatedAt": _time(mark.t)}
    facts = {"id": alarm.id, "createdBy": mark.author, "comment": mark.message, "status": {"state": "active"}}
    return facts | times | {"matchers": matchers}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _matcher(given: str) -> Callable[[Mapping[str, str]], bool]:
    """Return what tells whether labels match. Raises InputError."""
    found = _MATCHER.fullmatch(given)
    if found is None:
        raise InputError("filter", given, _ALLOWED)
    name, operator = found[1], found[2]
    wanted = re.sub(r"\\(.)", r"\1", found[3]) if found[3] is not None else found[4]
    if operator in ("=", "!="):
        return lambda labels: (labels.get(name, "") == wanted) == (operator == "=")
    expression = regex.compile(f"^(?:{wanted})$", "filter")
    return lambda labels: expression.found_in(labels.get(name, "")) == (operator == "=~")
