"""`canopsis prove`: what it refuses, what it says before it begins, how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prove_fakes import FakeSite, doubled

from canopsis.cli import prove
from canopsis.core.health import Problem
from canopsis.ops.health import Report
from canopsis.ops.prefix import Prefix
from canopsis.ops.prove import strikes
from canopsis.ops.prove.explain import Delays
from canopsis.ops.prove.strikes import Command, Strike

SMALL = ("--rounds", "2", "--events", "40", "--entities", "4", "--rate", "9999", "--freeze", "0.5", "--patience", "0.5")


@pytest.fixture
def struck(tmp_path: Path) -> Path:
    return tmp_path / "struck"


@pytest.fixture
def fake(prefix: Prefix, monkeypatch: pytest.MonkeyPatch, struck: Path) -> Iterator[FakeSite]:
    """A site in memory, well, with one strike that notes itself in a file."""
    assert prefix.path.is_dir()
    site = FakeSite()

    def of_programs(kinds: Sequence[str], _supervisor: object) -> list[Strike]:
        strikes.refuse_unknown(kinds)
        return [Command("cut", f"echo begin >>{struck}", f"echo end >>{struck}")]

    monkeypatch.setattr(prove.strikes, "of_programs", of_programs)
    monkeypatch.setattr(prove, "Api", lambda _settings: site)
    monkeypatch.setattr(prove, "look", lambda _prefix: Report([]))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield site
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_proof_ends_with_0(fake: FakeSite, struck: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prove.main([*SMALL, "--yes", "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert "sends 2 rounds of 40 events, about 9999 a second" in out
    assert "at random: cut" in out
    assert "proved: " in out
    assert out.count("  cut 0.") == 2
    done = struck.read_text().split()
    assert done == ["begin", "end"] * (len(done) // 2)
    assert fake.posts


def test_what_is_wrong_ends_with_1_and_is_named(fake: FakeSite, capsys: pytest.CaptureFixture[str]) -> None:
    fake.spoil = doubled
    assert prove.main([*SMALL, "--yes", "--json"]) == 1
    done = capsys.readouterr()
    found = json.loads(done.out)
    assert found["proved"] is False
    assert found["rounds"][0]["differences"]["doubled"] == 4
    assert "is there 1 times too often" in found["wrong"][0]
    assert "what is wrong:" in done.err


def test_a_strike_that_fails_ends_with_2(
    fake: FakeSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prove.strikes, "of_programs", lambda *_: [Command("cut", "exit 7", "true")])
    assert prove.main([*SMALL, "--yes"]) == 2
    assert "the proof was given up: cut: ended with 7" in capsys.readouterr().err
    assert all(entity.alarms[-1].state == 0 for entity in fake.entities.values() if entity.alarms)


def test_ctrl_c_takes_the_strike_back_and_tells_so(
    fake: FakeSite, struck: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_self: Command) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Command, "begin", interrupted)
    assert prove.main([*SMALL, "--yes"]) == 130
    done = capsys.readouterr()
    assert "proved" not in done.out
    assert "the site is well" in done.err
    assert not struck.exists()
    assert all(entity.alarms[-1].state == 0 for entity in fake.entities.values() if entity.alarms)


def test_without_a_terminal_nothing_is_done_unless_told(
    fake: FakeSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert prove.main([*SMALL]) == 2
    assert "there is no terminal to ask; --yes" in capsys.readouterr().err
    assert fake.posts == []


@pytest.mark.parametrize(("answer", "code"), [("no", 2), ("", 2), ("yes", 0)])
def test_on_a_terminal_it_asks(fake: FakeSite, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    assert prove.main([*SMALL]) == code
    assert bool(fake.posts) is (code == 0)


def test_a_site_that_is_not_well_is_left_alone(
    fake: FakeSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prove, "look", lambda _prefix: Report([], problems=[Problem("down", "mongodb", "is FATAL")]))
    assert prove.main([*SMALL, "--yes"]) == 2
    assert "the site is not well, nothing was done:\n  mongodb: is FATAL" in capsys.readouterr().err
    assert fake.posts == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("--strikes", "disks"),
            "--strikes: 'disks' is refused; allowed: engines, webserver, broker, database, freeze",
        ),
        (("--strikes", ""), "else nothing is proved"),
        (("--events", "4000"), "--events: 4000 is refused; allowed: at most 40 for each of 12 entities"),
    ],
)
def test_what_makes_no_sense_is_refused(
    fake: FakeSite, arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prove.main([*arguments, "--yes"]) == 2
    assert text in capsys.readouterr().err
    assert fake.posts == []


@pytest.mark.parametrize("arguments", [("--rounds", "0"), ("--rate", "much"), ("--freeze", "0")])
def test_numbers_out_of_bounds_are_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        prove.main(arguments)
    assert caught.value.code == 2
    assert "is refused; allowed: " in capsys.readouterr().err


def test_several_addresses_keep_the_key(prefix: Prefix) -> None:
    (own,) = prove.settings_of(prefix, [])
    found = prove.settings_of(prefix, ["http://h1:1/", "http://h2:2"])
    assert [each.urls for each in found] == [("http://h1:1",), ("http://h2:2",)]
    assert {each.authkey for each in found} == {own.authkey}


def test_the_delays_are_those_of_the_chain(prefix: Prefix) -> None:
    assert prove.delays_of(prefix, patience=10.0) == Delays(300.0, 3600.0, wake=130.0)
    prefix.etc("amqp2engines.conf").unlink()
    assert prove.delays_of(prefix, patience=10.0) == Delays()
