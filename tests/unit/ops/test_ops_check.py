"""Every problem of every file of a host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ops_scratch import change, write

from canopsis.engines import registry
from canopsis.notifiers.notifier import notifiers
from canopsis.ops import check
from canopsis.ops.model import FILES
from canopsis.ops.prefix import Prefix
from canopsis.sources.webhook import sources


def texts(prefix: Prefix) -> list[str]:
    return [str(problem) for problem in check.problems(prefix)]


def test_a_good_host(prefix: Prefix) -> None:
    assert texts(prefix) == []


def test_problems_of_several_files_are_told_together(prefix: Prefix) -> None:
    change(prefix, "amqp.conf", "127.0.0.1:8083,broker2:8083", "127.0.0.1")
    change(prefix, "webserver.conf", "metrics = 0", "metrics = maybe")
    change(prefix, "amqp2engines.conf", "next = eventstore", "next = cleaner_events")
    found = texts(prefix)
    assert len(found) == 3
    assert found[0].startswith("etc/amqp.conf [master] hosts: '127.0.0.1' is refused; allowed: HOST:PORT")
    assert found[1].startswith("etc/webserver.conf [webservices] metrics: 'maybe' is refused; allowed: true or false")
    assert "events go in a circle: cleaner_events -> event_filter -> alarm -> cleaner_events" in found[2]


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if file.readers])
def test_a_missing_file_is_a_problem_where_a_service_reads_it(prefix: Prefix, name: str) -> None:
    prefix.etc(name).unlink()
    assert texts(prefix) == [f"etc/{name}: missing; site.yml writes it"]


def test_a_database_host_needs_none_of_the_others(prefix: Prefix) -> None:
    for name in FILES:
        prefix.etc(name).unlink()
    write(prefix, "hypcontrol.conf", "[backend]\nservices = mongodb\n")
    assert texts(prefix) == []


def test_a_file_that_nobody_needs_is_still_checked(prefix: Prefix) -> None:
    write(prefix, "hypcontrol.conf", "[backend]\nservices = mongodb\n")
    change(prefix, "webserver.conf", "debug = true", "debug = perhaps")
    assert [text.split(":")[0] for text in texts(prefix)] == ["etc/webserver.conf [server] debug"]


def test_a_host_that_runs_nothing(prefix: Prefix) -> None:
    write(prefix, "hypcontrol.conf", "[backend]\nservices =\n")
    assert texts(prefix) == ["etc/hypcontrol.conf: no section names a service: this host would run nothing"]


def test_a_broken_hypcontrol_conf(prefix: Prefix) -> None:
    write(prefix, "hypcontrol.conf", "[backen]\nservices = mongodb\n")
    assert [text for text in texts(prefix) if text.startswith("etc/hypcontrol.conf")] == [
        "etc/hypcontrol.conf [backen]: unknown section; "
        "allowed sections: backend, frontend, middleware; did you mean backend?"
    ]


@pytest.mark.parametrize(
    ("name", "mode", "good"),
    [
        ("client.conf", 0o600, True),
        ("client.conf", 0o640, False),
        ("client.conf", 0o604, False),
        ("amqp.conf", 0o640, True),
        ("amqp.conf", 0o600, True),
        ("amqp.conf", 0o644, False),
        ("storage.conf", 0o660, False),
        ("webserver.conf", 0o664, False),
        ("amqp2engines.conf", 0o644, True),
        ("amqp2engines.conf", 0o640, True),
    ],
)
def test_files_with_secrets_are_not_for_everybody(prefix: Prefix, name: str, mode: int, good: bool) -> None:
    prefix.etc(name).chmod(mode)
    found = texts(prefix)
    if good:
        assert found == []
    else:
        (text,) = found
        wanted = FILES[name].mode
        assert (
            text
            == f"etc/{name}: it holds secrets but its mode is {mode:04o}; do: chmod {wanted:04o} {prefix.etc(name)}"
        )


def test_a_chain_in_a_file_that_is_no_ini_is_not_judged(prefix: Prefix) -> None:
    write(prefix, "amqp2engines.conf", "nonsense\n")
    assert texts(prefix) == ["etc/amqp2engines.conf: line 1 comes before any [section]"]


def test_an_unknown_engine(prefix: Prefix) -> None:
    change(prefix, "amqp2engines.conf", "[engine:eventstore]", "[engine:eventstor]")
    found = texts(prefix)
    assert any("[engine:eventstor]: unknown engine eventstor; needed: eventstore" in text for text in found)
    assert any("[engine:alarm] next: alarm is followed by eventstore, which is not there" in text for text in found)


def test_e2_own_types_of_collectd_are_looked_into(prefix: Prefix) -> None:
    path = write(prefix, "ups.db", "ups_power in:GAUGE:0:U\n")
    chain = "[engine:collectdgw]\nprocess = cleaner\nnext = cleaner_events\ntypes_db = "
    change(prefix, "amqp2engines.conf", "[engine:cleaner_events]", f"{chain}{path}\n[engine:cleaner_events]")
    assert list(map(str, check.problems(prefix))) == []
    path.write_text("ups_power in:GAUGE\n")
    (problem,) = map(str, check.problems(prefix))
    assert problem.startswith(f"etc/amqp2engines.conf [engine:collectdgw]: {path} line 1: 'in:GAUGE' is not")
    change(prefix, "amqp2engines.conf", str(path), "ups.db")
    (problem,) = map(str, check.problems(prefix))
    assert "'ups.db' is refused; allowed: absolute paths" in problem


@pytest.fixture
def package(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site's own package, installed: nothing that it names is there."""
    info = prefix.path / "ours-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
    groups = (f"[canopsis.{kind}s]\n{kind} = ours.{kind}:IT\n" for kind in ("engine", "source", "notifier"))
    (info / "entry_points.txt").write_text("".join(groups))
    monkeypatch.syspath_prepend(prefix.path)
    for found in (registry.found, sources, notifiers):
        found.cache_clear()
    yield
    for found in (registry.found, sources, notifiers):
        found.cache_clear()


@pytest.mark.usefixtures("package")
def test_what_cannot_be_loaded_of_own_packages_is_named_with_what_to_do(prefix: Prefix) -> None:
    for kind, text in zip(("engine", "source", "notifier"), texts(prefix), strict=True):
        where, why = text.split(": it cannot be loaded: ")
        assert where == f"own packages [canopsis.{kind}s] {kind}"
        assert why.startswith(f"ours.{kind}:IT of the package ours: ModuleNotFoundError: No module named 'ours'; put ")


@pytest.mark.usefixtures("package")
def test_an_engine_in_the_chain_that_cannot_be_loaded_is_named_once(prefix: Prefix) -> None:
    change(prefix, "amqp2engines.conf", "[engine:cleaner_events]", "[engine:engine]\n[engine:cleaner_events]")
    found = [text for text in texts(prefix) if "ours.engine" in text]
    assert len(found) == 1
    assert found[0].startswith("etc/amqp2engines.conf [engine:engine]: the engine engine cannot be loaded; needed: ")
