"""Grafana's own alerting: the webhook contact point, which is Alertmanager's with more in it.

Fields: docs of Grafana, "Webhook contact point".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from canopsis.sources.webhook import Arrival, Raw, Source, list_of, object_of
from canopsis.sources.webhooks import alertmanager

UNKNOWN = 3
_NOT_OF_THE_RULE = {"DatasourceNoData", "DatasourceError"}
"""Names of alerts that say that a rule could not be looked at; the label ``rulename`` has the rule."""


def _map(payload: Any, arrival: Arrival) -> Iterator[Raw]:  # noqa: ANN401 - JSON is anything
    whole = object_of(payload, "body")
    for each in list_of(whole.get("alerts"), "alerts"):
        yield _event_of(object_of(each, "alert"), whole, arrival)


def _event_of(alert: Mapping[str, Any], whole: Mapping[str, Any], arrival: Arrival) -> Raw:
    labels = dict(alert["labels"]) if isinstance(alert.get("labels"), dict) else {}
    is_unknown = labels.get("alertname") in _NOT_OF_THE_RULE
    if is_unknown and labels.get("rulename"):
        labels["alertname"] = labels["rulename"]
    event = alertmanager.event_of({**alert, "labels": labels}, whole, arrival)
    if is_unknown and event["state"]:
        event["state"] = UNKNOWN
    event["component"] = event["component"] or labels.get("grafana_folder")
    event["perf_data_array"] = _values(alert.get("values"))
    event["extra"] |= {
        name: alert[key] for name, key in _ADDRESSES.items() if isinstance(alert.get(key), str) and alert[key]
    }
    return event


_ADDRESSES = {
    "dashboard_url": "dashboardURL",
    "panel_url": "panelURL",
    "silence_url": "silenceURL",
    "image_url": "imageURL",
    "values": "valueString",
}


def _values(found: object) -> list[dict[str, Any]]:
    values = found.items() if isinstance(found, dict) else ()
    return [{"metric": str(name), "value": value} for name, value in values if isinstance(value, int | float)]


SOURCE = Source("grafana", "Grafana alerting (webhook contact point)", _map)
