"""``canopsis rules``: files in, tables and trails out."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import Asked, FakeApi

from canopsis.cli import rules
from canopsis.core.rules.kinds import kinds
from canopsis.ops.apiclient import Answer

RULE: dict[str, Any] = {"id": "r", "type": "drop", "pattern": {"component": "web"}, "description": "too loud"}
SHOWN = RULE | {
    "rev": 2,
    "author": "ann",
    "created": "2026-05-01T00:00:00Z",
    "updated": "2026-05-02T00:00:00Z",
    "counts": {"matched": 7, "dropped": 7, "failed": 1, "failure": {"reason": "no field", "event_id": "e1", "at": "x"}},
}
FILE = """
kind: event-filter
id: r
type: drop
pattern: {component: web}
start: 2026-05-01T22:00:00Z
---
kind: table
id: hosts
rows: {web: {team: ops}}
---
- {id: listed, type: break, pattern: {state: 0}}
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(FILE)
    return path


def test_list(api: FakeApi, capsys: Capture) -> None:
    api.answer([SHOWN])
    assert rules.main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["100", "r", "drop", "yes", "7", "7", "1", "too", "loud"]
    assert api.asked[0].path == "/api/v1/event-filters"
    assert rules.main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "r"
    api.answer([{"id": "t", "rows": {"a": {}}}])
    assert rules.main(["list", "--kind", "table"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["t", "1"]
    api.answer([])
    assert rules.main(["list"]) == 0
    assert capsys.readouterr().out == "no rule of kind event-filter\n"


def test_show_is_a_file_that_apply_takes(api: FakeApi, capsys: Capture, tmp_path: Path) -> None:
    api.answer([SHOWN])
    assert rules.main(["show", "r"]) == 0
    shown = capsys.readouterr().out
    assert "# failure: no field (event e1)" in shown
    path = tmp_path / "shown.yml"
    path.write_text(shown)
    assert list(rules.rules_in(str(path))) == [("event-filter", RULE)]
    api.answer([SHOWN | {"counts": {"failure": {"reason": "no field", "event_id": "", "at": "x"}}}])
    assert rules.main(["show", "r"]) == 0
    assert capsys.readouterr().out.endswith("# failure: no field\n")
    api.answer([SHOWN])
    assert rules.main(["show", "r", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == SHOWN


def test_apply_sends_what_several_documents_hold(api: FakeApi, capsys: Capture, file: Path) -> None:
    api.answer([SHOWN], 201)
    assert rules.main(["apply", str(file.parent)]) == 0
    assert [(asked.method, asked.path) for asked in api.asked] == [
        ("PUT", "/api/v1/event-filters/r"),
        ("PUT", "/api/v1/tables/hosts"),
        ("PUT", "/api/v1/event-filters/listed"),
    ]
    assert api.asked[0].json["start"] == "2026-05-01T22:00:00Z"
    assert "kind" not in api.asked[0].json
    assert capsys.readouterr().out.splitlines()[1] == "table hosts: made"


def test_apply_from_the_standard_input(api: FakeApi, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(RULE)))
    api.answer([SHOWN])
    assert rules.main(["apply", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"rule": "event-filter r", "done": True, "result": "replaced"}]


def test_what_is_refused_is_said_and_the_rest_is_done(api: FakeApi, capsys: Capture, file: Path) -> None:
    def respond(asked: Asked) -> Answer:
        good = asked.path.endswith("hosts")
        return Answer(200 if good else 400, "Refused", b"{}" if good else b'{"detail": "rule r: type: no"}')

    api.respond = respond
    assert rules.main(["apply", str(file)]) == 1
    told = capsys.readouterr()
    assert told.out == "table hosts: replaced\n"
    assert "error: event-filter r: 400 Refused: rule r: type: no" in told.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1]", "objects with an id"),
        ("id: x\nkind: nope", ", ".join(kinds())),
        ("a: [", "YAML or JSON"),
    ],
)
def test_a_file_that_is_wrong_changes_nothing(api: FakeApi, capsys: Capture, file: Path, text: str, why: str) -> None:
    bad = file.parent / "bad.yml"
    bad.write_text(text)
    assert rules.main(["apply", str(file), str(bad)]) == 2
    assert why in capsys.readouterr().err
    assert rules.main(["apply", str(file.parent / "none")]) == 1
    assert "none cannot be read: No such file" in capsys.readouterr().err
    assert api.asked == []


def test_delete(api: FakeApi, capsys: Capture) -> None:
    api.answer([{"id": "r", "status": "deleted"}])
    assert rules.main(["delete", "r", "a/b"]) == 0
    assert [asked.path for asked in api.asked] == ["/api/v1/event-filters/r", "/api/v1/event-filters/a%2Fb"]
    assert capsys.readouterr().out.splitlines() == ["event-filter r: deleted", "event-filter a/b: deleted"]


def test_try_tells_the_trail(api: FakeApi, capsys: Capture, file: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.json"
    events.write_text('[{"component": "web"}, {"component": "db"}]')
    step = {"rule": "a", "type": "enrich", "outcome": "pass", "changes": {"tags": {"from": None, "to": ["x"]}}}
    failed = {"rule": "b", "type": "enrich", "outcome": "drop", "failure": "no field"}
    dropped = {
        "outcome": "dropped",
        "reason": "no field",
        "event": {"entity_id": "component:web"},
        "trail": [step, failed],
    }
    api.answer([dropped, {"outcome": "forwarded", "event": {}, "trail": []}])
    assert rules.main(["try", str(file), "--event", str(events), "--stored", "e9", "--alone"]) == 0
    sent = api.asked[0].json
    assert (api.asked[0].path, sent["event_ids"], sent["alone"]) == ("/api/v1/event-filters/try", ["e9"], True)
    assert [each["id"] for each in sent["rules"] + sent["tables"]] == ["r", "listed", "hosts"]
    assert [each["component"] for each in sent["events"]] == ["web", "db"]
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "component:web  dropped: no field",
        "  a (enrich): pass",
        '    tags: null → ["x"]',
        "  b (enrich): drop  failed: no field",
        "  forwarded",
        "  no rule matches",
    ]
    assert rules.main(["try", "--stored", "e9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == dropped


def test_mappers_are_listed_and_tried_on_payloads(api: FakeApi, capsys: Capture, tmp_path: Path) -> None:
    shown = {"id": "m", "pattern": {"a": 1}, "fields": {}, "sources": ["one", "two"], "tests": [{"payload": 1}]}
    api.answer([SHOWN | shown])
    assert rules.main(["list", "--kind", "mapper"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == ["PRIORITY", "ID", "SOURCES", "TESTS", "ENABLED"]
    assert row.split()[:5] == ["100", "m", "one,two", "1", "yes"]
    mapper, payload = tmp_path / "m.yml", tmp_path / "down.json"
    mapper.write_text("{kind: mapper, id: m, pattern: {a: 1}, fields: {component: $.host}}")
    payload.write_text('{"a": 1, "host": "web"}')
    step = {"rule": "m", "type": "mapper", "outcome": "accepted", "changes": {"component": {"from": None, "to": "web"}}}
    api.answer([{"outcome": "accepted", "event": {"entity_id": "component:web"}, "trail": [step]}])
    assert rules.main(["try", str(mapper), "--payload", str(payload), "--alone"]) == 0
    assert api.asked[-1].path == "/api/v1/mappers/try"
    assert api.asked[-1].json == {
        "rules": [{"id": "m", "pattern": {"a": 1}, "fields": {"component": "$.host"}}],
        "payloads": [{"a": 1, "host": "web"}],
        "alone": True,
    }
    assert capsys.readouterr().out.splitlines() == [
        "component:web  accepted",
        "  m (mapper): accepted",
        '    component: null → "web"',
    ]


@pytest.mark.parametrize("words", [[], ["--event", "a", "--payload", "b"], ["--stored", "a", "--payload", "b"]])
def test_try_wants_what_one_kind_is_tried_on(api: FakeApi, capsys: Capture, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        rules.main(["try", *words])
    assert "--event FILE, --payload FILE or --stored EVENT_ID" in capsys.readouterr().err
    assert api.asked == []
