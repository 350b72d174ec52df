"""Alertmanager: its webhook (version 4), and the list of alerts that Prometheus itself posts.

Fields: docs of Alertmanager, "Webhook receiver" and its API v2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from canopsis.core.fields import MAX_TAGS
from canopsis.core.moments import moment_of
from canopsis.sources.webhook import Arrival, Raw, Source, list_of, object_of

COMPONENT = ("instance", "host", "hostname", "node", "pod", "service", "job")
"""Labels that may say what an alert is about, the first one that it has."""

CRITICAL, WARNING = 2, 1
_SEVERITIES = {"warning": WARNING, "warn": WARNING, "minor": WARNING, "info": WARNING, "informational": WARNING} | {
    "none": WARNING
}


def _map(payload: Any, arrival: Arrival) -> Iterator[Raw]:  # noqa: ANN401 - JSON is anything
    if isinstance(payload, list):
        for each in payload:
            yield event_of(object_of(each, "alert"), {}, arrival)
        return
    whole = object_of(payload, "body")
    for each in list_of(whole.get("alerts"), "alerts"):
        yield event_of(object_of(each, "alert"), whole, arrival)


def event_of(alert: Mapping[str, Any], whole: Mapping[str, Any], arrival: Arrival) -> Raw:
    """Return the event of an alert; ``whole`` is the notification that it came in, empty where it came alone.

    Component and resource are of labels that stay while the alert burns and when it is out.
    """
    labels, annotations = _texts(alert.get("labels")), _texts(alert.get("annotations"))
    component = next((labels[name] for name in COMPONENT if labels.get(name)), "")
    event: Raw = {
        "event_type": "check",
        "source_type": "resource",
        "component": component or None,
        "resource": _resource(labels, arrival) or None,
        "state": state_of(alert, labels, arrival.now),
        "output": annotations.get("summary") or annotations.get("description") or labels.get("alertname", ""),
        "long_output": annotations.get("description", ""),
        "tags": [f"{name}:{value}" for name, value in sorted(labels.items()) if name != "alertname"][:MAX_TAGS],
        "timestamp": _time(alert, is_out(alert, arrival.now)),
        "extra": _extra(alert, whole, labels, annotations),
    }
    return event


def _resource(labels: Mapping[str, str], arrival: Arrival) -> str:
    return "/".join([labels.get("alertname", ""), *(labels[name] for name in arrival.labels if labels.get(name))])


def is_out(alert: Mapping[str, Any], now: float) -> bool:
    """Tell whether an alert is resolved: it says so, or its end is over."""
    status = alert.get("status")
    if isinstance(status, str):
        return status == "resolved"
    ends = moment_of(alert.get("endsAt"))
    return ends is not None and ends <= now


def state_of(alert: Mapping[str, Any], labels: Mapping[str, str], now: float) -> int:
    """Return the state: OK when it is out; else by the severity, critical where none says less."""
    if is_out(alert, now):
        return 0
    return _SEVERITIES.get(labels.get("severity", "").lower(), CRITICAL)


def _time(alert: Mapping[str, Any], out: bool) -> float | None:
    ends = moment_of(alert.get("endsAt")) if out else None
    return ends if ends is not None else moment_of(alert.get("startsAt"))


def _extra(
    alert: Mapping[str, Any], whole: Mapping[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "severity": labels.get("severity"),
        "annotations": dict(annotations) or None,
        "generator_url": alert.get("generatorURL"),
        "fingerprint": alert.get("fingerprint"),
        "external_url": whole.get("externalURL"),
        "receiver": whole.get("receiver"),
        # Alerts that the sender left out: they are to be looked for there.
        "truncated_alerts": whole.get("truncatedAlerts"),
    }
    return {name: value for name, value in found.items() if value}


def _texts(found: object) -> dict[str, str]:
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


SOURCE = Source(
    "alertmanager", "Prometheus Alertmanager (webhook), or Prometheus itself", _map, suffixes=("/api/v2/alerts",)
)
