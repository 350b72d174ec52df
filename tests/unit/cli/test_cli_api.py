"""Commands that ask the API: api, alarms, dead-letters."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import Asked, FakeApi

from canopsis.cli import alarms, api, dead_letters
from canopsis.errors import InputError, SiteError
from canopsis.ops import apiclient, config
from canopsis.ops.apiclient import Answer
from canopsis.ops.prefix import Prefix

ALARM: dict[str, Any] = {
    "_id": "a1",
    "state": 2,
    "status": 1,
    "created": 1000.0,
    "component": "web1",
    "resource": "disk",
    "output": "disk is  full\nreally",
    "ack": {"author": "alice", "message": "", "t": 1.0},
}


class TestApi:
    def test_the_answer_is_printed(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([{"name": "é"}])
        assert run_api("get", "/api/v1/status") == 0
        assert json.loads(capsys.readouterr().out)["data"] == [{"name": "é"}]
        assert (api.asked[0].method, api.asked[0].path, api.asked[0].body) == ("GET", "/api/v1/status", None)

    def test_data_of_every_kind(self, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        api.answer([])
        path = tmp_path / "events.json"
        path.write_bytes(b"[1]")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[2]")))
        for given in ('{"a": "b"}', f"@{path}", "-"):
            assert run_api("POST", "/api/v1/events", "--data", given) == 0
        assert [asked.body for asked in api.asked] == [b'{"a": "b"}', b"[1]", b"[2]"]

    def test_a_refusal_is_printed_and_told(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.refuse(400, "state: 7 is refused", field="state")
        assert run_api("POST", "/api/v1/events", "--data", "{}") == 1
        out, err = capsys.readouterr()
        assert json.loads(out)["field"] == "state"
        assert err == "error: 400 Refused: state: 7 is refused\n"

    def test_what_is_not_json_is_printed_as_it_is(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.respond = lambda _asked: Answer(200, "OK", b"plain text", "text/plain")
        assert run_api("GET", "/healthz") == 0
        assert capsys.readouterr().out == "plain text\n"

    def test_nothing_at_all(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.respond = lambda _asked: Answer(204, "No Content", b"", "text/plain")
        assert run_api("DELETE", "/x") == 0
        assert capsys.readouterr().out == ""

    def test_a_file_that_is_not_there(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([])
        assert run_api("POST", "/x", "--data", "@/nowhere") == 2
        assert "--data: '@/nowhere' is refused; allowed: @ and a file that can be read" in capsys.readouterr().err
        assert api.asked == []

    def test_a_path_without_a_slash(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_api("GET", "status") == 2
        assert "PATH: 'status' is refused; allowed: a path that begins with /" in capsys.readouterr().err
        assert api.asked == []

    def test_a_method_that_is_none(self) -> None:
        with pytest.raises(SystemExit):
            run_api("FETCH", "/")


def run_api(*argv: str) -> int:
    return api.main(argv)


class TestAnswer:
    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b'{"detail": "no"}', "400 Bad: no"),
            (b"{}", "400 Bad"),
            (b"[]", "400 Bad"),
            (b"<html>", "400 Bad"),
            (b"\xff", "400 Bad"),
        ],
    )
    def test_problem(self, content: bytes, text: str) -> None:
        assert Answer(400, "Bad", content).problem() == text

    @pytest.mark.parametrize(("status", "good"), [(200, True), (202, True), (302, True), (400, False), (503, False)])
    def test_good(self, status: int, good: bool) -> None:
        assert Answer(status, "", b"").good is good

    def test_what_is_not_json(self) -> None:
        with pytest.raises(SiteError, match="is not JSON: is another program at this URL"):
            Answer(200, "OK", b"<html>").json()

    def test_data(self, api: FakeApi, prefix: Prefix) -> None:
        client = apiclient.Api(config.client(prefix))
        api.answer([1, 2])
        assert client.data("GET", "/x") == [1, 2]
        api.refuse(404, "there is no alarm x")
        with pytest.raises(SiteError, match="GET /x: 404 Refused: there is no alarm x"):
            client.data("GET", "/x")


class TestAlarms:
    def test_a_table(self, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(alarms.time, "time", lambda: 1090.0)
        api.answer([ALARM], total=1)
        assert alarms.main([]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "STATE     STATUS   AGE  ACK    WHAT       OUTPUT",
            "CRITICAL  ongoing  2m   alice  web1/disk  disk is full really",
            "1 alarms",
        ]
        assert api.asked[0].path == "/api/v1/alarms"
        assert api.asked[0].query == {"show": "open", "limit": 50}

    def test_b14_what_is_over_is_told_from_what_may_come_back(
        self, api: FakeApi, capsys: pytest.CaptureFixture[str]
    ) -> None:
        states = {"off": (0, True), "ongoing": (1, True), "cancelled": (4, True), "resolved": (0, False)}
        api.answer([ALARM | {"status": status, "open": is_open} for status, is_open in states.values()])
        alarms.main(["--show", "all"])
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:-1]] == list(states)

    def test_no_alarms(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([])
        assert alarms.main([]) == 0
        assert capsys.readouterr().out == "no alarms\n"

    def test_more_than_shown(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([ALARM], total=70)
        alarms.main(["--limit", "1"])
        assert capsys.readouterr().out.endswith("\n1 of 70 alarms\n")

    def test_the_steps_of_an_alarm_are_read_part_by_part(
        self, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
        step = {"type": "stateinc", "t": 1000.0, "author": "nagios.n1", "message": "two\nlines", "value": 2}
        parts: dict[object, tuple[str | None, int]] = {None: ("p1", 2), "p1": ("p2", 2), "p2": (None, 2)}

        def respond(asked: Asked) -> Answer:
            older = asked.query.get("older")
            if asked.path == "/api/v1/alarms":
                data: dict[str, Any] = {"data": [ALARM], "total": 1}
            else:
                following, count = parts[older]
                data = {"data": [step] * count, "older": following, "total": 6}
            return Answer(200, "OK", json.dumps(data).encode())

        api.respond = respond
        assert alarms.main(["--steps", "--limit", "3"]) == 0
        line = "1970-01-01 00:16:40+00:00  stateinc  2      nagios.n1  two lines"
        assert capsys.readouterr().out.splitlines() == [
            "CRITICAL ongoing  web1/disk",
            "TIME                       STEP      VALUE  AUTHOR     MESSAGE",
            *[line] * 3,
        ]
        assert [asked.query.get("older") for asked in api.asked[1:]] == [None, "p1"]
        assert alarms.main(["--steps", "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)[0]["steps"]) == 6

    def test_filters(self, api: FakeApi) -> None:
        api.answer([])
        alarms.main(
            [
                "--show",
                "all",
                "--state",
                "critical,1",
                "--component",
                "web1",
                "--resource",
                "d",
                "--connector",
                "c",
                "--tag",
                "t",
                "--search",
                "full",
                "--not-acked",
                "--sort",
                "created",
                "--descending",
                "--limit",
                "5",
            ]
        )
        assert api.asked[0].query == {
            "show": "all",
            "state": "2,1",
            "component": "web1",
            "resource": "d",
            "connector": "c",
            "tag": "t",
            "search": "full",
            "acked": "false",
            "sort": "-created",
            "limit": 5,
        }

    def test_as_json(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([ALARM])
        assert alarms.main(["--json"]) == 0
        assert json.loads(capsys.readouterr().out) == [ALARM]

    def test_a_refusal(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.refuse(400, "sort: 'x' is refused")
        assert alarms.main(["--sort", "x"]) == 1
        assert capsys.readouterr().err == "error: cannot list alarms: 400 Refused: sort: 'x' is refused\n"

    @pytest.mark.parametrize(
        ("text", "states"), [("ok", "0"), ("Warning, 3", "1,3"), ("UNKNOWN", "3"), ("0,1,2,3", "0,1,2,3")]
    )
    def test_states(self, text: str, states: str) -> None:
        assert alarms.states(text) == states

    @pytest.mark.parametrize("text", ["bad", "4", "1,", "critical;ok"])
    def test_states_that_are_none(self, text: str) -> None:
        with pytest.raises(InputError, match=r"--state: .* allowed: ok, warning, critical, unknown, or 0 to 3"):
            alarms.states(text)

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(-5, "0s"), (0, "0s"), (59.4, "59s"), (60, "1m"), (3599, "60m"), (7200, "2h"), (86400 * 3, "3d")],
    )
    def test_age(self, seconds: float, text: str) -> None:
        assert alarms.age(seconds) == text

    def test_cut(self) -> None:
        assert alarms.cut("abcdef", 6) == "abcdef"
        assert alarms.cut("abcdefg", 6) == "abcde…"

    def test_a_narrow_terminal_keeps_all_columns(self) -> None:
        lines = alarms.render({"data": [ALARM | {"output": "x" * 500}], "total": 1}, 1000.0, 10).splitlines()
        assert "web1/disk" in lines[1]
        assert lines[1].endswith("x…")
        assert len(lines[1]) < 120

    def test_odd_alarms_are_shown_too(self) -> None:
        odd = {"state": 9, "status": 9, "created": 0, "component": "web1", "resource": None}
        assert alarms.row(odd, 0) == ("9", "9", "0s", "", "web1", "")

    def test_watch_goes_on_when_the_api_is_away(
        self, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turns = 0

        def respond(_asked: Asked) -> Answer:
            nonlocal turns
            turns += 1
            if turns == 2:
                raise SiteError("no API at http://x")
            if turns == 4:
                raise KeyboardInterrupt
            return Answer(200, "OK", json.dumps({"data": [ALARM], "total": 1}).encode())

        waited: list[float] = []

        def select(
            _read: object, _write: object, _odd: object, seconds: float
        ) -> tuple[list[int], list[int], list[int]]:
            waited.append(seconds)
            return [], [], []

        monkeypatch.setattr(alarms.select, "select", select)
        api.respond = respond
        assert alarms.main(["--watch", "--interval", "0.5"]) == 130
        out, err = capsys.readouterr()
        assert err == ""
        assert out.count("web1/disk") == 2
        assert "no API at http://x\ntrying again" in out
        assert waited == [0.5, 0.5, 0.5]

    def test_watch_as_json_is_a_line_each_time(
        self, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(alarms, "_pause", stop)
        api.answer([ALARM])
        assert alarms.main(["--watch", "--json"]) == 130
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line)["data"] == [ALARM]


LETTER = {"_id": "l1", "received": "2026-02-28T12:00:00.123Z", "engine": "cleaner_events", "reason": "state: 7"}


class TestDeadLetters:
    def test_list(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([LETTER, LETTER | {"_id": "l2", "reason": "x" * 500}])
        assert dead_letters.main(["list", "--engine", "e", "--field", "f", "--search", "s", "--limit", "3"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].split() == ["l1", "2026-02-28T12:00:00", "cleaner_events", "state:", "7"]
        assert all(len(line) <= 120 for line in lines)
        assert api.asked[0].query == {"engine": "e", "field": "f", "search": "s", "limit": 3}

    def test_none(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([])
        assert dead_letters.main(["list"]) == 0
        assert capsys.readouterr().out == "no dead letters\n"

    def test_show(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([LETTER | {"body": '{"a": 1}', "body_encoding": "utf-8", "headers": {}}])
        assert dead_letters.main(["show", "a/b"]) == 0
        out = capsys.readouterr().out
        assert out.endswith('\n{"a": 1}\n')
        assert "headers" not in out
        assert api.asked[0].path == "/api/v1/dead-letters/a%2Fb"

    def test_show_one_that_is_not_there(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.refuse(404, "there is no dead letter x")
        assert dead_letters.main(["show", "x"]) == 1
        assert "there is no dead letter x" in capsys.readouterr().err

    def test_replay_tells_each(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        def respond(asked: Asked) -> Answer:
            if "l2" in asked.path:
                return Answer(404, "Not Found", b'{"detail": "there is no dead letter l2"}')
            return Answer(202, "Accepted", b'{"data": []}')

        api.respond = respond
        assert dead_letters.main(["replay", "l1", "l2", "l3"]) == 1
        out, err = capsys.readouterr()
        assert out == "l1: replayed\nl3: replayed\n"
        assert "error: l2: POST /api/v1/dead-letters/l2/replay: 404 Not Found: there is no dead letter l2" in err

    def test_replay_all_pages(
        self, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dead_letters, "_PAGE", 2)
        letters = [LETTER | {"_id": f"l{number}"} for number in range(5)]

        def respond(asked: Asked) -> Answer:
            if asked.method == "POST":
                return Answer(202, "Accepted", b'{"data": []}')
            assert (asked.query["replayed"], asked.query["discarded"]) == ("false", "false")
            start, limit = asked.query.get("start", 0), asked.query["limit"]
            assert isinstance(start, int)
            assert isinstance(limit, int)
            more = {"next": start + limit} if start + limit < len(letters) else {}
            return Answer(200, "OK", json.dumps({"data": letters[start : start + limit]} | more).encode())

        api.respond = respond
        assert dead_letters.main(["replay", "--all", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == [{"id": f"l{number}", "error": ""} for number in range(5)]

    def test_a5_replay_with_a_mended_body(self, api: FakeApi, tmp_path: Path) -> None:
        mended = tmp_path / "mended.json"
        mended.write_text('{"component": "é"}')
        api.answer([])
        assert dead_letters.main(["replay", "l1", "--body", str(mended)]) == 0
        assert json.loads(api.asked[0].body or b"") == {"body": '{"component": "é"}'}

    def test_a5_discard(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([])
        assert dead_letters.main(["discard", "l1", "l2", "--comment", "tests"]) == 0
        assert capsys.readouterr().out == "l1: discarded\nl2: discarded\n"
        assert [asked.path for asked in api.asked] == [f"/api/v1/dead-letters/l{n}/discard" for n in (1, 2)]
        assert json.loads(api.asked[0].body or b"") == {"comment": "tests"}

    @pytest.mark.parametrize(
        "argv",
        [
            ["replay"],
            ["replay", "--all", "l1"],
            ["replay", "--all", "--body", "/dev/null"],
            ["replay", "a", "b", "--body", "/dev/null"],
            ["discard"],
            [],
            ["show"],
        ],
    )
    def test_wrong_usage(self, argv: list[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            dead_letters.main(argv)
        assert caught.value.code == 2
