"""What gunicorn calls: the files of a site become an application, or the reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from canopsis.api.auth.authkey import AuthKeys
from canopsis.cli import webserver
from canopsis.core.health import Process
from canopsis.errors import ConfigError
from canopsis.ops.prefix import Prefix

FILES = {
    "amqp.conf": "[master]\nhosts=127.0.0.1:1\n[engines]\nuserid=e\npassword=p\n[webserver]\nuserid=w\npassword=p\n",
    "storage.conf": "[master]\nhosts=127.0.0.1:2\n"
    "[engines]\nusername=e\npassword=p\n[webserver]\nusername=w\npassword=p\n",
    "webserver.conf": "[session]\nsecret=a secret\n[webservices]\nmetrics=0\n",
    "amqp2engines.conf": "[chain]\npartitions=3\n"
    "[engine:cleaner_events]\nprocess=cleaner\nnext=alarm\n[engine:alarm]\n[engine:dead_letters]\nprocess=cleaner\n",
}


@pytest.fixture(name="prefix")
def a_prefix(tmp_path: Path) -> Prefix:
    """A prefix with the four files that the web server reads."""
    (tmp_path / "etc").mkdir()
    for name, content in FILES.items():
        (tmp_path / "etc" / name).write_text(content)
    return Prefix(tmp_path)


def write(prefix: Prefix, name: str, content: str) -> None:
    prefix.etc(name).write_text(content)


def test_the_application_is_made_without_any_server(prefix: Prefix) -> None:
    client = webserver.make(prefix).test_client()
    assert client.get("/api/v1/healthz").status_code == 200
    assert client.get("/api/v1/alarms").status_code == 401


def test_it_follows_the_file(prefix: Prefix) -> None:
    write(
        prefix,
        "webserver.conf",
        FILES["webserver.conf"] + "status=no\n[server]\ndebug=yes\n[auth]\nproviders=authkey\n",
    )
    site = webserver.make(prefix).extensions["canopsis"]
    assert site.settings.debug is True
    assert site.settings.providers == ("authkey",)
    assert "metrics" not in site.settings.services
    assert "status" not in site.settings.services
    assert "alarms" in site.settings.services
    assert [type(each) for each in site.providers] == [AuthKeys]


def test_the_processes_are_those_of_the_chain(prefix: Prefix) -> None:
    assert webserver.chain(prefix) == (
        Process("cleaner", ("Engine_cleaner_events", "Engine_dead_letters")),
        Process("worker", ("Engine_alarm.00", "Engine_alarm.01", "Engine_alarm.02"), 3),
    )


@pytest.mark.parametrize("content", [None, "[engine:party]\n", "nonsense"])
def test_a_host_without_a_chain_takes_it_as_noted_and_serves(prefix: Prefix, content: str | None) -> None:
    if content is None:
        prefix.etc("amqp2engines.conf").unlink()
    else:
        write(prefix, "amqp2engines.conf", content)
    assert webserver.chain(prefix) == ()
    assert webserver.make(prefix).test_client().get("/api/v1/healthz").status_code == 200


@pytest.mark.parametrize("name", ["amqp.conf", "storage.conf", "webserver.conf"])
def test_a_missing_file_is_named(prefix: Prefix, name: str) -> None:
    prefix.etc(name).unlink()
    with pytest.raises(ConfigError, match=name):
        webserver.make(prefix)


def test_gunicorn_ends_with_the_reason(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPSIS_PREFIX", str(prefix.path))
    assert webserver.application().test_client().get("/api/v1/healthz").status_code == 200
    write(prefix, "webserver.conf", "[session]\nsecret=s\nlifetime=for ever\n")
    with pytest.raises(SystemExit, match="lifetime"):
        webserver.application()


def test_without_a_prefix_gunicorn_ends_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANOPSIS_PREFIX", raising=False)
    with pytest.raises(SystemExit, match="CANOPSIS_PREFIX"):
        webserver.application()
