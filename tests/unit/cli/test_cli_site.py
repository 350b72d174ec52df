"""Commands about the site itself: config, status, engine, migrate, user."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeApi
from ops_scratch import SECRETS, change, write

from canopsis.api.auth.authkey import digest
from canopsis.api.auth.passwords import verify
from canopsis.cli import config, engine, migrate, status, user
from canopsis.cli.status import render
from canopsis.engines.registry import registry
from canopsis.errors import InputError, SiteError, StoreError
from canopsis.ops import explain, services
from canopsis.ops.model import FILES
from canopsis.ops.prefix import Prefix
from canopsis.ops.services import State
from canopsis.runtime import process
from canopsis.store import client, migrations, sessions, users
from canopsis.store.users import AuthKey, User

KEY = "k" * 20


class TestConfig:
    def test_check_of_a_good_site(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        assert prefix.path.is_dir()
        assert config.main(["check"]) == 0
        assert capsys.readouterr().out == "the configuration is right\n"

    def test_check_tells_every_problem(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        change(prefix, "amqp.conf", "virtual_host", "virtualhost")
        change(prefix, "amqp2engines.conf", "next = eventstore", "next = event_filter")
        assert config.main(["check"]) == 2
        err = capsys.readouterr().err
        assert "etc/amqp.conf [master] virtualhost: unknown key" in err
        assert "events go in a circle: event_filter -> alarm -> event_filter" in err

    def test_check_as_json(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        assert config.main(["check", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"good": True, "problems": []}
        change(prefix, "storage.conf", "events = 7d", "events = 7 weeks")
        assert config.main(["check", "--json"]) == 2
        told = json.loads(capsys.readouterr().out)
        assert told["good"] is False
        (problem,) = told["problems"]
        assert (problem["file"], problem["section"], problem["key"]) == ("etc/storage.conf", "retention", "events")

    def test_check_knows_every_engine_there_is(self, prefix: Prefix) -> None:
        write(prefix, "amqp2engines.conf", "".join(f"[engine:{name}]\n" for name in registry()))
        assert config.main(["check"]) == 0

    @pytest.mark.parametrize("argv", [["show"], ["show", "--json"]])
    def test_show_masks_secrets(self, prefix: Prefix, capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
        assert prefix.path.is_dir()
        assert config.main(argv) == 0
        out = capsys.readouterr().out
        assert not [secret for secret in SECRETS if secret in out]
        assert explain.MASK in out

    def test_show_as_a_table(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        prefix.etc("webserver.conf").unlink()
        config.main(["show"])
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["amqp2engines.conf", "[chain]", "partitions", "4", "file"] in lines
        assert ["amqp.conf", "[master]", "heartbeat", "30s", "default"] in lines
        assert not any(line[0] == "webserver.conf" for line in lines)

    def test_show_one_file(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        assert prefix.path.is_dir()
        config.main(["show", "client.conf", "--json"])
        shown = json.loads(capsys.readouterr().out)
        assert shown == {
            "client.conf": {
                "api": {
                    "url": {"value": "http://127.0.0.1:8082", "from": "file"},
                    "authkey": {"value": explain.MASK, "from": "file"},
                    "timeout": {"value": "30s", "from": "default"},
                    "ca_file": {"value": "", "from": "default"},
                }
            }
        }

    def test_show_of_a_file_that_is_none(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        assert prefix.path.is_dir()
        assert config.main(["show", "clients.conf"]) == 2
        assert "did you mean client.conf?" in capsys.readouterr().err

    def test_explain_says_what_is_in_effect_here(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        assert prefix.path.is_dir()
        assert config.main(["explain", "resolve_delay"]) == 0
        assert capsys.readouterr().out.endswith("\n  here:    5m (from the file)\n")

    def test_explain_needs_no_site(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.delenv("CANOPSIS_PREFIX", raising=False)
        assert config.main(["explain", "partitions"]) == 0
        assert "here:" not in capsys.readouterr().out
        assert config.main(["explain"]) == 0
        out = capsys.readouterr().out
        assert all(entry.key.name in out for entry in explain.entries())

    def test_explain_as_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        config.main(["explain", "partitions", "--json"])
        (facts,) = json.loads(capsys.readouterr().out)
        assert facts["default"] == "8"

    def test_explain_what_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert config.main(["explain", "partition"]) == 2
        assert "did you mean partitions?" in capsys.readouterr().err

    def test_the_reference_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert config.main(["explain", "--markdown"]) == 0
        assert capsys.readouterr().out.strip() == explain.reference().strip()

    @pytest.mark.parametrize("name", FILES)
    def test_samples(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        assert config.main(["sample", name]) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"# etc/{name}: ")
        config.main(["sample", name, "--json"])
        assert json.loads(capsys.readouterr().out) == {"file": name, "content": explain.sample(FILES[name])}


def state(program: str, name: str = "RUNNING") -> State:
    return State(program, name, f"{program} is {name}", name == "RUNNING", 5)


SITE: dict[str, Any] = {
    "version": "1.0",
    "servers": [{"name": "mongodb", "hosts": ["127.0.0.1:1"], "version": "6.0.5", "reachable": True, "error": ""}],
    "engines": [
        {
            "_id": f"instance:{name}:h:1",
            "process": name,
            "alive": True,
            "age": 1,
            "partitions": held,
            "state": "working",
        }
        for name, held in (("cleaner", []), ("worker", [0, 1, 2, 3]))
    ],
    "partitions": [{"process": "worker", "partition": number, "holder": "x"} for number in range(4)],
    "queues": [
        {"name": "Engine_cleaner_events", "messages": 0, "exists": True},
        {"name": "Engine_event_filter.00", "messages": 12, "exists": True},
    ],
}
PROGRAMS = [state(name) for name in ("collectd", "engine-worker", "mongodb", "rabbitmq-server", "webserver")]


@pytest.fixture
def programs(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> list[State]:
    found = list(PROGRAMS)
    assert prefix.path.is_dir()
    monkeypatch.setattr(services, "status", lambda _prefix: found)
    return found


class TestStatus:
    def test_all_is_well(self, api: FakeApi, programs: list[State], capsys: pytest.CaptureFixture[str]) -> None:
        assert programs == PROGRAMS
        api.answer([SITE])
        assert status.main([]) == 0
        out = capsys.readouterr().out
        assert out.endswith("\n\nall is well\n")
        lines = [line.split() for line in out.splitlines()]
        assert ["mongodb", "RUNNING", "mongodb", "is", "RUNNING"] in lines
        assert ["mongodb", "answers", "6.0.5", "127.0.0.1:1"] in lines
        assert ["worker:h:1", "alive", "4", "working"] in lines
        assert ["Engine_event_filter.00", "12"] in lines
        assert "Engine_cleaner_events" not in out

    def test_a_program_is_down(self, api: FakeApi, programs: list[State], capsys: pytest.CaptureFixture[str]) -> None:
        api.answer([SITE])
        programs[2] = state("mongodb", "FATAL")
        assert status.main([]) == 1
        assert capsys.readouterr().out.endswith(
            "\n\nwhat is wrong:\n  mongodb: is FATAL (mongodb is FATAL); do: service mongodb start\n"
        )

    def test_a6_what_the_api_found_is_told_with_its_exit_code(
        self, api: FakeApi, programs: list[State], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert programs == PROGRAMS
        blocked = SITE["servers"][0] | {"blocked": "low on disk"}
        problem = {"severity": "down", "where": "queue q", "what": "does not exist", "todo": "restart it"}
        api.answer([SITE | {"problems": [problem], "servers": [blocked]}])
        assert status.main([]) == 3
        out = capsys.readouterr().out
        assert out.endswith("\n\nit does not work; what is wrong:\n  queue q: does not exist; restart it\n")
        assert ["mongodb", "BLOCKED", "6.0.5", "127.0.0.1:1"] in [line.split() for line in out.splitlines()]

    def test_a6_a_site_that_starts_is_not_well(
        self, api: FakeApi, programs: list[State], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert programs == PROGRAMS
        api.answer([SITE | {"problems": [{"severity": "starting", "where": "worker", "what": "no partitions yet"}]}])
        assert status.main([]) == 1
        assert capsys.readouterr().out.endswith("\n\nit is starting:\n  worker: no partitions yet\n")

    def test_a1_the_end_of_a_log_names_the_cause(
        self, api: FakeApi, prefix: Prefix, programs: list[State], capsys: pytest.CaptureFixture[str]
    ) -> None:
        log = prefix.path / "worker.log"
        log.write_text("first\nValueError: year -2\n")
        prefix.etc("engines").mkdir(exist_ok=True)
        prefix.etc("engines/worker.conf").write_text(f"[program:engine-worker]\ncommand=x\nstdout_logfile={log}\n")
        programs[1] = state("engine-worker", "BACKOFF")
        api.answer([SITE])
        assert status.main([]) == 1
        assert f"engine-worker: its log ends with: ValueError: year -2; see {log}" in capsys.readouterr().out

    def test_a6_a_web_server_of_several_that_is_away(
        self, api: FakeApi, prefix: Prefix, programs: list[State], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert programs == PROGRAMS
        change(prefix, "client.conf", "url = http://127.0.0.1:8082", "url = http://h1:8082,http://h2:8082")
        monkeypatch.setattr(status.Api, "silent", lambda _self: {"http://h2:8082": "no API"})
        api.answer([SITE])
        assert [p.where for p in status.look(prefix).problems] == ["web server http://h2:8082"]

    def test_a3_what_only_the_broker_knows(
        self, api: FakeApi, prefix: Prefix, programs: list[State], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert programs == PROGRAMS
        api.answer([SITE])
        queues = [{"name": "q", "messages": 46, "messages_ready": 0, "messages_unacknowledged": 0}]
        monkeypatch.setattr(status, "list_queues", lambda _prefix: queues)
        assert [p.where for p in status.look(prefix).problems] == ["queue q"]

        def refuse(_prefix: object) -> list[dict[str, Any]]:
            raise SiteError("rabbitmqctl does not answer")

        monkeypatch.setattr(status, "list_queues", refuse)
        assert [p.text() for p in status.look(prefix).problems] == ["rabbitmq-server: rabbitmqctl does not answer"]

    def test_the_api_is_away(self, api: FakeApi, programs: list[State], capsys: pytest.CaptureFixture[str]) -> None:
        assert programs == PROGRAMS
        api.refuse(503, "the database does not answer now")
        assert status.main(["--json"]) == 3
        told = json.loads(capsys.readouterr().out)
        assert told["healthy"] is False
        assert told["api"] is None
        assert told["problems"] == ["the API: GET /api/v1/status: 503 Refused: the database does not answer now"]
        assert [program["program"] for program in told["programs"]] == [p.program for p in PROGRAMS]

    def test_a_host_without_the_api_is_not_asked(self, api: FakeApi, prefix: Prefix, programs: list[State]) -> None:
        assert programs == PROGRAMS
        prefix.etc("client.conf").unlink()
        assert status.main([]) == 0
        assert api.asked == []

    def test_a_queue_that_is_not_known(self) -> None:
        text = render(status.Report(PROGRAMS, SITE | {"queues": [{"name": "q", "messages": None, "exists": None}]}))
        assert ["q", "?"] in [line.split() for line in text.splitlines()]


class TestEngine:
    def test_what_a_process_is_told(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        assert prefix.path.is_dir()
        told: list[Any] = []

        def run(*given: object) -> int:
            told.append(given)
            return 0

        monkeypatch.setattr(process, "main", run)
        assert engine.main(["run", "worker", "--instance", "2"]) == 0
        settings, engines, broken = told[0]
        assert (settings.process, settings.instance) == ("worker", 2)
        assert settings.chain.partitions == 4
        assert (engines, broken) == (registry(), {})

    def test_a_process_that_no_engine_has(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        assert prefix.path.is_dir()
        assert engine.main(["run", "workr"]) == 2
        err = capsys.readouterr().err
        assert "no engine has process=workr; processes: cleaner, worker; did you mean worker?" in err

    def test_a_broken_chain(self, prefix: Prefix, capsys: pytest.CaptureFixture[str]) -> None:
        change(prefix, "amqp2engines.conf", "next = eventstore", "next = event_filter")
        assert engine.main(["run", "worker"]) == 2
        assert "amqp2engines.conf" in capsys.readouterr().err


@pytest.fixture
def database(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> dict[str, User]:
    """Users as the database would keep them."""
    assert prefix.path.is_dir()
    kept: dict[str, User] = {}

    @contextmanager
    def opened(settings: object) -> Iterator[dict[str, User]]:
        assert "engines" in repr(settings)
        yield kept

    def save(db: dict[str, User], new: User) -> bool:
        changed = db.get(new.name) != new
        db[new.name] = new
        return changed

    monkeypatch.setattr(client, "opened", opened)
    monkeypatch.setattr(users, "get", lambda db, name: db.get(name))
    monkeypatch.setattr(users, "listing", lambda db: list(db.values()))
    monkeypatch.setattr(users, "save", save)
    monkeypatch.setattr(users, "delete", lambda db, name: db.pop(name, None) is not None)
    return kept


def secret(tmp_path: Path, text: str) -> str:
    path = tmp_path / "secret"
    path.write_text(text)
    return str(path)


class TestUser:
    def test_ensure_makes_a_user(
        self, database: dict[str, User], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        password, key = tmp_path / "pw", tmp_path / "key"
        password.write_text("correct horse\n")
        key.write_text(f"{KEY}\n")
        argv = [
            "ensure",
            "admin",
            "--role",
            "admin",
            "--password-file",
            str(password),
            "--authkey-file",
            str(key),
            "--json",
        ]
        assert user.main(argv) == 0
        assert json.loads(capsys.readouterr().out) == {"user": "admin", "changed": True}
        made = database["admin"]
        assert (made.role, made.enabled) == ("admin", True)
        assert verify(made.password, "correct horse")
        assert made.authkeys == [AuthKey("main", digest(KEY))]
        assert user.main(argv) == 0
        assert json.loads(capsys.readouterr().out)["changed"] is False
        assert database["admin"] == made

    def test_ensure_changes_what_is_given_only(self, database: dict[str, User], tmp_path: Path) -> None:
        user.main(["ensure", "alice", "--role", "operator", "--password-file", secret(tmp_path, "first password")])
        before = database["alice"]
        user.main(["ensure", "alice", "--password-file", secret(tmp_path, "second password")])
        after = database["alice"]
        assert after.role == "operator"
        assert not verify(after.password, "first password")
        assert verify(after.password, "second password")
        assert before.password != after.password

    def test_a_new_user_may_only_read(self, database: dict[str, User], capsys: pytest.CaptureFixture[str]) -> None:
        assert user.main(["ensure", "bob"]) == 0
        assert database["bob"] == User(name="bob")
        assert capsys.readouterr().out == "bob: changed\n"

    def test_ensure_replaces_a_key_by_its_name(self, database: dict[str, User], tmp_path: Path) -> None:
        user.main(["ensure", "bob", "--authkey-file", secret(tmp_path, KEY), "--name", "laptop"])
        user.main(["ensure", "bob", "--authkey-file", secret(tmp_path, KEY * 2)])
        user.main(["ensure", "bob", "--authkey-file", secret(tmp_path, KEY * 3), "--name", "laptop"])
        assert sorted(key.id for key in database["bob"].authkeys) == ["laptop", "main"]
        assert digest(KEY * 3) in {key.sha256 for key in database["bob"].authkeys}

    @pytest.mark.parametrize("text", ["", "\n", "\nsecond line"])
    def test_an_empty_secret(
        self, database: dict[str, User], tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert user.main(["ensure", "bob", "--password-file", secret(tmp_path, text)]) == 2
        assert "--password-file: " in capsys.readouterr().err
        assert database == {}

    def test_a_secret_file_that_is_not_there(
        self, database: dict[str, User], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert user.main(["ensure", "bob", "--password-file", "/nowhere"]) == 2
        assert (
            "--password-file: '/nowhere' is refused; allowed: a text file that can be read" in capsys.readouterr().err
        )
        assert database == {}

    def test_a_short_password(
        self, database: dict[str, User], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert user.main(["ensure", "bob", "--password-file", secret(tmp_path, "short")]) == 2
        assert "password: '5 characters' is refused" in capsys.readouterr().err
        assert database == {}

    @pytest.mark.parametrize("key", ["short", "k" * 257, "k" * 20 + " x", "é" * 20, "k" * 20 + "\x7f"])
    def test_poor_keys(self, key: str) -> None:
        with pytest.raises(InputError, match=r"authkey: .* allowed: 16 to 256"):
            user.with_key(User(name="bob"), "main", key)

    @pytest.mark.parametrize("name", ["", " bob", "bob ", "a\nb", "x" * 65])
    def test_poor_names(self, database: dict[str, User], name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert user.main(["ensure", name]) == 2
        assert "NAME: " in capsys.readouterr().err
        assert database == {}

    def test_key(self, database: dict[str, User], capsys: pytest.CaptureFixture[str]) -> None:
        database["bob"] = User(name="bob")
        assert user.main(["key", "bob", "--name", "laptop"]) == 0
        key = capsys.readouterr().out.strip()
        assert len(key) > 40
        assert database["bob"].authkeys == [AuthKey("laptop", digest(key))]
        user.main(["key", "bob", "--json"])
        told = json.loads(capsys.readouterr().out)
        assert (told["user"], told["name"]) == ("bob", "main")
        user.main(["key", "bob", "--name", "laptop", "--revoke"])
        assert [found.id for found in database["bob"].authkeys] == ["main"]
        capsys.readouterr()
        user.main(["key", "bob", "--name", "laptop", "--revoke", "--json"])
        assert json.loads(capsys.readouterr().out) == {"user": "bob", "changed": False}

    def test_a_key_that_may_less_and_ends(self, database: dict[str, User], capsys: pytest.CaptureFixture[str]) -> None:
        database["bob"] = User(name="bob", role="operator")
        assert user.main(["key", "bob", "--name", "wall", "--role", "reader", "--for", "90d"]) == 0
        (key,) = database["bob"].authkeys
        assert key.role == "reader"
        assert key.until == pytest.approx(time.time() + 90 * 86400, abs=60)
        database["bob"] = User(name="bob", authkeys=[AuthKey("old", "abc", until=1.0), key])
        capsys.readouterr()
        user.main(["list"])
        shown = capsys.readouterr().out
        assert "old (ended 1970-01-01 " in shown
        assert "wall (reader, until 20" in shown
        assert user.main(["key", "bob", "--for", "soon"]) == 2
        assert "--for: 'soon' is refused; allowed: a time from 1m" in capsys.readouterr().err

    def test_logout(
        self, database: dict[str, User], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        database["bob"] = User(name="bob")
        ended: list[str] = []
        monkeypatch.setattr(sessions, "delete_of", lambda _db, name: ended.append(name) or 2)
        assert user.main(["logout", "bob"]) == 0
        assert (ended, capsys.readouterr().out) == (["bob"], "bob: changed\n")

    def test_disable_enable_delete(self, database: dict[str, User], capsys: pytest.CaptureFixture[str]) -> None:
        database["bob"] = User(name="bob")
        assert user.main(["disable", "bob"]) == 0
        assert not database["bob"].enabled
        user.main(["disable", "bob"])
        user.main(["enable", "bob"])
        assert database["bob"].enabled
        user.main(["delete", "bob"])
        assert database == {}
        user.main(["delete", "bob"])
        assert capsys.readouterr().out.splitlines() == [
            "bob: changed",
            "bob: unchanged",
            "bob: changed",
            "bob: changed",
            "bob: unchanged",
        ]

    @pytest.mark.parametrize("verb", ["key", "enable", "disable"])
    def test_a_user_that_is_not_there(
        self, database: dict[str, User], verb: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert user.main([verb, "bob"]) == 2
        assert "NAME: 'bob' is refused; allowed: (there is no user yet)" in capsys.readouterr().err
        database["alice"] = User(name="alice")
        user.main([verb, "bob"])
        assert "allowed: alice" in capsys.readouterr().err

    def test_list(self, database: dict[str, User], capsys: pytest.CaptureFixture[str]) -> None:
        database["bob"] = User(name="bob", role="operator", password="hash", authkeys=[AuthKey("main", "abc")])
        database["eve"] = User(name="eve", enabled=False)
        assert user.main(["list"]) == 0
        assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
            ["NAME", "ROLE", "ENABLED", "PASSWORD", "KEYS"],
            ["bob", "operator", "yes", "yes", "main"],
            ["eve", "reader", "no", "no"],
        ]
        user.main(["list", "--json"])
        shown = capsys.readouterr().out
        assert json.loads(shown)[0]["keys"] == [{"name": "main", "role": None, "until": None}]
        assert "hash" not in shown
        assert "abc" not in shown


class TestMigrate:
    def test_changes_are_told(
        self, database: dict[str, User], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told: list[Any] = []

        def ensure(db: object, retention: object) -> list[str]:
            told.append((db, retention))
            return ["collection alarms", "index alarms.x"]

        monkeypatch.setattr(migrations, "ensure", ensure)
        assert migrate.main([]) == 0
        assert capsys.readouterr().out == "collection alarms\nindex alarms.x\nchanged\n"
        assert told[0][0] is database
        assert told[0][1].events == 7 * 86400

    def test_nothing_to_do(
        self, database: dict[str, User], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert database == {}
        monkeypatch.setattr(migrations, "ensure", lambda _db, _retention: [])
        assert migrate.main([]) == 0
        assert capsys.readouterr().out == f"unchanged (version {migrations.VERSION})\n"
        assert migrate.main(["--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"changed": False, "version": migrations.VERSION, "changes": []}

    def test_a_database_that_is_away(
        self, database: dict[str, User], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert database == {}

        def ensure(_db: object, _retention: object) -> list[str]:
            raise StoreError("migrating: the database does not answer")

        monkeypatch.setattr(migrations, "ensure", ensure)
        assert migrate.main([]) == 1
        assert capsys.readouterr().err == "error: migrating: the database does not answer\n"
