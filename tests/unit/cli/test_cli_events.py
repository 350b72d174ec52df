"""Commands that send events: send-event and check."""

from __future__ import annotations

import io
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import Asked, FakeApi

from canopsis.cli import check, send_event
from canopsis.core.normalise import normalise
from canopsis.ops.apiclient import Answer

MINIMAL = {"connector": "send-event", "connector_name": socket.gethostname(), "event_type": "check"}


@pytest.fixture
def taking(api: FakeApi) -> FakeApi:
    """An API that takes every event."""
    api.answer([], status=202)
    return api


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def sent(api: FakeApi) -> list[dict[str, Any]]:
    return [event for asked in api.asked for event in asked.json]


def refuse_state_7(asked: Asked) -> Answer:
    """Answer as the API does for a list of which some are good."""
    refused = {"status": "refused", "detail": "state: 7 is refused; allowed: 0..3", "field": "state"}
    accepted = {"status": "accepted", "warnings": ["tags: 5 is left out"]}
    data = [
        {"index": index, "event_id": event["event_id"]} | (refused if event.get("state") == 7 else accepted)
        for index, event in enumerate(asked.json)
    ]
    return Answer(207, "Multi-Status", json.dumps({"data": data}).encode())


class TestFlags:
    def test_the_least(self, taking: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        assert send_event.main(["--component", "web1"]) == 0
        (event,) = sent(taking)
        assert event == MINIMAL | {"component": "web1", "event_id": event["event_id"]}
        assert capsys.readouterr() == (f"event 0: accepted {event['event_id']}\n", "")
        assert taking.asked[0].path == "/api/v1/events"

    def test_every_flag_is_a_field(self, taking: FakeApi) -> None:
        argv = [part for name in send_event._FIELDS for part in (f"--{name}", f"the {name}")]
        assert send_event.main([*argv, "--tag", "a", "--tag", "b", "--field", "ticket=x=1"]) == 0
        (event,) = sent(taking)
        assert event == {name.replace("-", "_"): f"the {name}" for name in send_event._FIELDS} | {
            "tags": ["a", "b"],
            "ticket": "x=1",
        }

    def test_an_event_of_flags_is_one_that_canopsis_takes(self, taking: FakeApi) -> None:
        argv = (
            "--component web1 --resource disk --state 2 --state-type 1 --perf-data /=95%;80;90 --timestamp 1700000000"
        )
        assert send_event.main([*argv.split(), "--output", "full", "--tag", "disks"]) == 0
        event = normalise(sent(taking)[0], 1_700_000_100.0)
        assert event.entity_id == "resource:web1/disk"
        assert event.perf_data_array[0].value == 95

    @pytest.mark.parametrize("pair", ["ticket", "=x"])
    def test_a_field_without_a_name(self, taking: FakeApi, capsys: pytest.CaptureFixture[str], pair: str) -> None:
        assert send_event.main(["--component", "web1", "--field", pair]) == 2
        assert "--field: " in capsys.readouterr().err
        assert taking.asked == []

    def test_nothing_to_send_on_a_terminal(self, taking: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
        stdin(monkeypatch, b"")
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        with pytest.raises(SystemExit) as caught:
            send_event.main([])
        assert caught.value.code == 2
        assert taking.asked == []

    def test_a_batch_of_nothing(self) -> None:
        with pytest.raises(SystemExit):
            send_event.main(["--component", "x", "--batch", "0"])


class TestInput:
    @pytest.mark.parametrize(
        "data",
        [
            b'{"component": "a"}\n{"component": "b"}\n',
            b'[{"component": "a"}, {"component": "b"}]',
            b'[\n {"component": "a"},\n {"component": "b"}\n]\n',
        ],
    )
    def test_json_on_standard_input(self, taking: FakeApi, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
        stdin(monkeypatch, data)
        assert send_event.main([]) == 0
        assert [event["component"] for event in sent(taking)] == ["a", "b"]
        assert all(event["event_type"] == "check" for event in sent(taking))

    def test_what_an_event_says_goes_before_flags(self, taking: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
        stdin(monkeypatch, b'{"component": "a", "connector": "own"}\n{"component": "b"}\n')
        assert send_event.main(["--connector", "flag", "--resource", "r", "-"]) == 0
        assert [(event["connector"], event["resource"]) for event in sent(taking)] == [("own", "r"), ("flag", "r")]

    def test_a_csv_file(self, taking: FakeApi, tmp_path: Path) -> None:
        path = tmp_path / "events.csv"
        path.write_text("component,resource,state\nweb1,disk,2\nweb2,,0\n")
        assert send_event.main(["--csv", str(path)]) == 0
        assert [(event["component"], event.get("resource"), event["state"]) for event in sent(taking)] == [
            ("web1", "disk", "2"),
            ("web2", None, "0"),
        ]

    def test_batches(
        self, taking: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stdin(monkeypatch, b"".join(b'{"component": "c%d"}\n' % number for number in range(7)))
        assert send_event.main(["--batch", "3"]) == 0
        assert [len(asked.json) for asked in taking.asked] == [3, 3, 1]
        out, err = capsys.readouterr()
        assert [line.split(":")[0] for line in out.splitlines()] == [f"event {number}" for number in range(7)]
        assert err == "7 accepted, 0 refused\n"

    def test_an_empty_input(
        self, taking: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stdin(monkeypatch, b"")
        assert send_event.main([]) == 0
        assert taking.asked == []
        assert capsys.readouterr().err == "0 accepted, 0 refused\n"

    def test_a_file_that_is_not_there(self, taking: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        assert send_event.main(["/nowhere.json"]) == 2
        assert "FILE: '/nowhere.json' is refused; allowed: a file that can be read" in capsys.readouterr().err
        assert taking.asked == []

    def test_b13_bytes_that_are_not_utf8(self, taking: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
        stdin(monkeypatch, b'{"component": "caf\xe9"}')
        assert send_event.main([]) == 0
        [event] = sent(taking)
        assert normalise(event | {"state": 0}, 1_700_000_000.0).component == "caf\ufffd"

    @pytest.mark.parametrize("flags", [[], ["--csv"]])
    def test_d7_a_byte_order_mark(self, taking: FakeApi, tmp_path: Path, flags: list[str]) -> None:
        path = tmp_path / "events"
        text = "component,state\na,1\n" if flags else '{"component": "a"}'
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert send_event.main([*flags, str(path)]) == 0
        assert [event["component"] for event in sent(taking)] == ["a"]


class TestResults:
    def test_refused_and_unreadable_ones_are_told_in_their_place(
        self, api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.respond = refuse_state_7
        stdin(monkeypatch, b'{"component": "a"}\nnonsense\n{"component": "b", "state": 7}\n{"component": "c"}\n')
        assert send_event.main([]) == 1
        out, err = capsys.readouterr()
        assert [line.split()[1] for line in out.splitlines()] == ["0:", "3:"]
        assert err.splitlines() == [
            "warning: event 0: tags: 5 is left out",
            "error: event 1: refused: line 2: not a JSON object, nor an array of them",
            "error: event 2: refused: state: 7 is refused; allowed: 0..3",
            "warning: event 3: tags: 5 is left out",
            "2 accepted, 2 refused",
        ]

    def test_as_json(self, api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        api.respond = refuse_state_7
        stdin(
            monkeypatch, b'[{"component": "a", "event_id": "one"}, {"component": "b", "state": 7, "event_id": "two"}]'
        )
        assert send_event.main(["--json"]) == 1
        out, err = capsys.readouterr()
        assert [json.loads(line) for line in out.splitlines()] == [
            {
                "index": 0,
                "status": "accepted",
                "event_id": "one",
                "error": "",
                "field": "",
                "warnings": ["tags: 5 is left out"],
            },
            {
                "index": 1,
                "status": "refused",
                "event_id": "two",
                "error": "state: 7 is refused; allowed: 0..3",
                "field": "state",
                "warnings": [],
            },
        ]
        assert err == ""

    def test_quiet_shows_refused_ones_only(
        self, api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.respond = refuse_state_7
        stdin(monkeypatch, b'{"component": "a"}\n{"component": "b", "state": 7}\n')
        assert send_event.main(["--quiet"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "event 1: refused" in err

    def test_a_broker_that_is_away(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.refuse(503, "the broker does not take messages now")
        assert send_event.main(["--component", "a"]) == 1
        assert "may count or not: 503 Refused: the broker does not take messages now" in capsys.readouterr().err


PLUGIN = "print('DISK CRITICAL - full | /=95%;80;90;0;100'); print('more'); raise SystemExit(2)"


def run_check(code: str, *options: str) -> int:
    return check.main(["--component", "web1", *options, "--", sys.executable, "-c", code])


class TestCheck:
    def test_the_result_is_sent_with_performance_data(
        self, taking: FakeApi, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run_check(PLUGIN) == 0
        (event,) = sent(taking)
        assert event == {
            "connector": "canopsis",
            "connector_name": "check",
            "event_type": "check",
            "component": "web1",
            "resource": Path(sys.executable).name,
            "state": 2,
            "output": "DISK CRITICAL - full",
            "long_output": "more",
            "perf_data": "/=95%;80;90;0;100",
            "event_id": event["event_id"],
        }
        assert capsys.readouterr().out.splitlines() == [
            f"web1/{event['resource']}: CRITICAL - DISK CRITICAL - full",
            "  perf data: /=95%;80;90;0;100",
            "  long output: more",
            f"  sent: {event['event_id']}",
        ]

    def test_canopsis_takes_what_is_sent(self, taking: FakeApi) -> None:
        run_check(PLUGIN, "--resource", "disk", "--tag", "disks")
        event = normalise(sent(taking)[0], 1_700_000_000.0)
        assert event.entity_id == "resource:web1/disk"
        assert event.tags == ["disks"]
        assert event.perf_data_array[0].crit == "90"

    @pytest.mark.parametrize("state", [0, 1, 2, 3])
    def test_exit_codes(self, taking: FakeApi, state: int) -> None:
        assert run_check(f"print('x'); raise SystemExit({state})") == 0
        assert run_check(f"print('x'); raise SystemExit({state})", "--exit-code") == state
        assert [event["state"] for event in sent(taking)] == [state, state]

    def test_a_plugin_that_is_not_there_is_unknown(self, taking: FakeApi) -> None:
        assert check.main(["--", "/nowhere/check_x", "-w", "1"]) == 0
        (event,) = sent(taking)
        assert event["state"] == 3
        assert event["output"] == "UNKNOWN: cannot run /nowhere/check_x: No such file or directory"
        assert event["resource"] == "check_x"
        assert event["component"] == socket.gethostname()

    def test_a_plugin_that_does_not_end_is_unknown(self, taking: FakeApi) -> None:
        plugin = ["--", "sh", "-c", "echo so far; exec sleep 1000"]
        assert check.main(["--timeout", "1.5", *plugin]) == 0
        (event,) = sent(taking)
        assert (event["state"], event["output"], event["long_output"]) == (3, "so far", "it did not end in 1.5 s")

    def test_performance_data_that_cannot_be_read_never_cost_the_state(self, taking: FakeApi) -> None:
        run_check("print('OK | a=b=c;;;;;;; \"')")
        (event,) = sent(taking)
        assert (event["state"], event["output"]) == (0, "OK")
        assert normalise(event, 1_700_000_000.0).perf_data_array == []

    def test_c1_what_is_left_out_is_told(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        warning = "perf_data: 'max=NaN' is left out"
        api.answer([{"index": 0, "event_id": "e", "status": "accepted", "warnings": [warning]}], status=202)
        assert run_check("print('OK | ok=4 max=NaN')") == 0
        (event,) = sent(api)
        assert event["perf_data"] == "ok=4 max=NaN"
        assert capsys.readouterr().err == f"warning: {warning}\n"
        assert run_check("print('OK | ok=4 max=NaN')", "--json") == 0
        assert json.loads(capsys.readouterr().out)["warnings"] == [warning]

    def test_c1_a_dry_run_tells_it_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_check("print('OK | ok=4 max=NaN')", "--dry-run") == 0
        assert "warning: perf_data: 'max=NaN' is left out" in capsys.readouterr().err
        assert run_check(PLUGIN, "--dry-run", "--component", "\u200b") == 0
        assert "warning: component: " in capsys.readouterr().err

    def test_dry_run_sends_nothing(self, taking: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_check(PLUGIN, "--dry-run") == 0
        assert taking.asked == []
        assert capsys.readouterr().out.endswith("  not sent (--dry-run)\n")

    def test_as_json(self, taking: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        run_check(PLUGIN, "--json")
        told = json.loads(capsys.readouterr().out)
        assert told["sent"] is True
        assert told["event"]["state"] == 2
        assert told["event_id"] == sent(taking)[0]["event_id"]

    def test_a_refusal_is_told(self, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
        api.refuse(400, "component: '' is refused")
        assert run_check(PLUGIN, "--component", "", "--exit-code") == 1
        assert "error: refused: 400 Refused: component: '' is refused" in capsys.readouterr().err

    def test_options_of_the_plugin_stay_its_own(self, taking: FakeApi) -> None:
        code = "import sys; print(' '.join(sys.argv[1:]))"
        assert check.main(["--", sys.executable, "-c", code, "--timeout", "5", "--json", "--help"]) == 0
        assert sent(taking)[0]["output"] == "--timeout 5 --json --help"

    def test_without_a_plugin(self) -> None:
        with pytest.raises(SystemExit) as caught:
            check.main(["--component", "x"])
        assert caught.value.code == 2
