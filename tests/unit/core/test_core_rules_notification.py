"""Notification rules: what they tell of, in which words."""

from __future__ import annotations

from typing import Any

import pytest

from canopsis.core.rules.kernel import ready
from canopsis.core.rules.notification import KIND, NotificationRule, Telling
from canopsis.core.rules.rule import parse
from canopsis.errors import InvalidRule, RuleFailure

ALERT: dict[str, Any] = {
    "kind": "opened",
    "alarm_id": "a1",
    "state": 2,
    "component": "web",
    "resource": "disk",
    "output": 'a "quote"',
    "tags": ["x", "y"],
    "ack": {"author": "ann", "message": "", "t": 1.0},
    "infos": {"owner": "dba"},
    "steps": [{"type": "stateinc"}, {"type": "statusinc"}],
}


def telling(**fields: Any) -> Telling:
    rule = {"id": "r", "pattern": {"state": 2}, "on": ["opened"], "notifier": "webhook"} | fields
    return ready(KIND, parse(NotificationRule, rule), {})


def test_the_words_of_a_rule_without_templates() -> None:
    message = telling(on=["stateinc", "opened"]).message("n1", ALERT)
    assert (message.subject, message.happened) == ("[critical] web/disk: opened, stateinc", ("opened", "stateinc"))
    assert message.body is None
    about = ["component: web", "resource: disk", "tags: x, y", "happened: opened, stateinc"]
    assert message.text.splitlines() == [message.subject, "", 'a "quote"', "", *about]
    ended = ALERT | {"kind": "resolved", "state": 0, "resource": None, "steps": [{"type": "resolve"}]}
    assert telling(on=["opened", "resolve"]).message("n2", ended).subject == "[resolved] web: resolve"


def test_templates_see_the_alert_and_what_is_known_of_the_entity() -> None:
    body = "{{ ack.author }} {{ state_name }} {{ output|tojson }}"
    message = telling(subject="{{ rule }}\n{{ infos.owner }}", body=body).message("n1", ALERT)
    assert (message.subject, message.text) == ("r dba", 'ann critical "a \\"quote\\""')
    with pytest.raises(RuleFailure, match="undefined value"):
        telling(body="{{ nothing }}").message("n1", ALERT)


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"on": ["open"]}, "on[0]", "opened, stateinc, "),
        ({"on": []}, "on", "length >= 1"),
        ({"subject": "{{"}, "subject", "a template"),
        ({"body": "{{"}, "body", "a template"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        telling(**fields)
    assert refused.value.field == field
    assert allowed in refused.value.allowed
