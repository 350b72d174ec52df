"""The entry: sub-commands, help, exit codes, errors as one line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from canopsis import __version__
from canopsis.cli import common, hypcontrol, main, send_event, service, version
from canopsis.cli.common import table
from canopsis.errors import CanopsisError, ConfigError, InputError, SiteError, StoreError, TransportError

ROOT = Path(__file__).parents[3]
EVERY = {name: main.load(name) for name in main.COMMANDS} | {
    "service": service.main,
    "hypcontrol": hypcontrol.main,
    "send-event": send_event.main,
}


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert main.main(argv) == 0
    out = capsys.readouterr().out
    for name, command in main.COMMANDS.items():
        assert f"  {name:<14}{command.help}" in out
    assert "service, hypcontrol, send-event" in out


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_help_with_examples(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as caught:
        EVERY[name](["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"\n  {'canopsis ' if name in main.COMMANDS else ''}{name}" in out


@pytest.mark.parametrize("name", EVERY)
def test_every_command_refuses_an_option_that_is_not_there(name: str) -> None:
    with pytest.raises(SystemExit) as caught:
        EVERY[name](["--no-such-option"])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["statu"], "statu: no such command; did you mean status? commands: "),
        (["xyzzy"], "xyzzy: no such command; commands: status, "),
        ([], "commands: status, "),
    ],
)
def test_an_unknown_command(capsys: pytest.CaptureFixture[str], argv: list[str], text: str) -> None:
    assert main.main(argv) == 2
    assert capsys.readouterr().err.startswith(f"error: {text}")


def test_arguments_come_from_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["canopsis", "version"])
    assert main.main() == 0
    assert f"canopsis    {__version__}" in capsys.readouterr().out


def test_version_as_json_and_as_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert version.main(["--json"]) == 0
    assert f'"canopsis": "{__version__}"' in capsys.readouterr().out
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("canopsis ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SiteError("why"), 1),
        (StoreError("why"), 1),
        (TransportError("why"), 1),
        (CanopsisError("why"), 1),
        (ConfigError("why"), 2),
        (InputError("field", "value", "allowed"), 2),
    ],
)
def test_errors_are_a_line_and_an_exit_code(capsys: pytest.CaptureFixture[str], error: Exception, code: int) -> None:
    @common.command
    def broken(_argv: Sequence[str] | None = None) -> int:
        raise error

    assert broken([]) == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_ctrl_c_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    @common.command
    def interrupted(_argv: Sequence[str] | None = None) -> int:
        raise KeyboardInterrupt

    assert interrupted([]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_f7_ctrl_c_says_that_the_same_command_again_heals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    for module, argv in ((hypcontrol, ["start"]), (service, ["mongodb", "start"])):
        monkeypatch.setattr(module, "own_prefix", interrupted)
        assert module.main(argv) == 130
        assert capsys.readouterr().err == "interrupted: run the same again, it goes on from what is there\n"


def test_a_bug_is_not_hidden() -> None:
    @common.command
    def buggy(_argv: Sequence[str] | None = None) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        buggy([])


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    code = "import sys; from canopsis.cli.config import main; sys.exit(main(['explain', '--markdown']))"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    assert done.returncode == 141
    assert done.stderr == b""


def test_table() -> None:
    text = table(("A", "LONG", "LAST"), [("1", 22, "three"), ("four", "", "5")])
    assert text.splitlines() == ["A     LONG  LAST", "1     22    three", "four        5"]


def test_table_without_rows() -> None:
    assert table(("A", "B"), []) == "A  B"


def test_json_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    common.show_json({"a": "é"}, lines=True)
    assert capsys.readouterr().out == '{"a": "é"}\n'


def test_progress_goes_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    common.murmur("working")
    assert capsys.readouterr() == ("", "working\n")


@pytest.mark.parametrize(
    "argv", [[], ["mongodb"], ["mongodb", "explode"], ["--status-all", "mongodb"], ["a", "start", "b"]]
)
def test_wrong_usage_of_service(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        service.main(argv)
    assert caught.value.code == 2


def test_commands_without_a_site_say_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANOPSIS_PREFIX", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for name, argv in {
        "status": [],
        "alarms": [],
        "check": ["--", "true"],
        "api": ["GET", "/"],
        "migrate": [],
        "user": ["list"],
        "dead-letters": ["list"],
        "engine": ["run", "worker"],
        "config": ["check"],
        "service": ["mongodb", "status"],
        "hypcontrol": ["status"],
        "send-event": ["--component", "x"],
    }.items():
        assert EVERY[name](argv) == 1, name
        assert capsys.readouterr().err.startswith("error: CANOPSIS_PREFIX is not set"), name
