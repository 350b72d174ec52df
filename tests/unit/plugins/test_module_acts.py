"""The thin layers of the modules, with servers that the tests play themselves by handed-in answers."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.canopsis_mongodb import login_refused, voting, with_newcomer
from ansible.module_utils.canopsis_replica_set import Step

ModuleOf = Callable[[str], ModuleType]

# -- the broker's administrator --

PARAMS = {
    "url": "http://127.0.0.1:1",
    "vhost": "canopsis",
    "admin_user": "admin",
    "admin_password": "wanted",
    "seed_password": "seed",
    "control": "/rabbitmqctl",
    "users": [],
    "absent": ["guest"],
    "policies": [],
    "ha_mode": "quorum",
    "nodes": 1,
    "tls_ca": "",
    "timeout": 0.1,
}


def broker(module: ModuleType, accepts: str, listed: str = "admin\t[administrator]") -> Any:
    """Return a broker whose administrator has the password ``accepts``; ``rabbitmqctl`` sets it."""

    played = module.Broker(PARAMS)
    accepted = [accepts]
    played.commands = []

    def control(*arguments: str, given: str = "") -> str:
        played.commands.append((arguments, given))
        if arguments[0] in ("add_user", "change_password"):
            accepted.append(given)
        return listed

    played.status = lambda: 200 if played.password == accepted[-1] else 401
    played._control = control
    return played


@pytest.mark.parametrize(
    ("accepts", "listed", "lines", "verbs"),
    [
        ("wanted", "admin", [], []),
        ("seed", "admin", [], []),
        ("other", "admin\t[]", ["set the password of user admin by rabbitmqctl"],
         ["list_users", "change_password", "set_user_tags"]),
        ("other", "guest\t[]", ["set the password of user admin by rabbitmqctl"],
         ["list_users", "add_user", "set_user_tags"]),
    ],
)  # fmt: skip
def test_the_administrator_is_reached(
    module_of: ModuleOf, accepts: str, listed: str, lines: list[str], verbs: list[str]
) -> None:
    played = broker(module_of("canopsis_rabbitmq"), accepts, listed)
    assert played.ensure_admin(check_mode=False) == lines
    assert [arguments[0] for arguments, _ in played.commands] == verbs


def test_a_password_is_never_on_a_command_line(module_of: ModuleOf) -> None:
    played = broker(module_of("canopsis_rabbitmq"), "other")
    played.ensure_admin(check_mode=False)
    assert all("wanted" not in arguments for arguments, _ in played.commands)
    assert [given for _, given in played.commands if given] == ["wanted"]


def test_check_mode_sets_no_administrator(module_of: ModuleOf) -> None:
    played = broker(module_of("canopsis_rabbitmq"), "other")
    assert played.ensure_admin(check_mode=True)
    assert played.commands == []


def test_a_broker_that_does_not_answer_is_named(module_of: ModuleOf) -> None:
    module = module_of("canopsis_rabbitmq")
    played = module.Broker(PARAMS)
    played.status = lambda: 0
    with pytest.raises(module.RefusedError, match=r"127\.0\.0\.1:1 does not answer \(status 0\); see var/log/rabbitmq"):
        played.wait()


def test_the_administrator_changes_last(module_of: ModuleOf) -> None:
    """Once its password is another, nothing more can be asked with the one in use."""
    played = broker(module_of("canopsis_rabbitmq"), "seed")
    answers: dict[str, Any] = {
        "/queues?columns=name,vhost,type": [],
        "/users": [],
        "/vhosts": [],
        "/permissions": [],
        "/policies": [],
    }
    answers["/overview"] = {"rabbitmq_version": "3.10.8"}
    played.call = lambda _method, path, _body=None: answers[path]
    says = [request.says for request in played.requests()]
    assert says[-1] == "add user admin"
    assert says[0] == "add virtual host canopsis"


def test_a_broker_without_mirroring_refuses_it(module_of: ModuleOf) -> None:
    module = module_of("canopsis_rabbitmq")
    played = broker(module, "seed")
    played.params = {**PARAMS, "ha_mode": "classic"}
    played.call = lambda _method, path, _body=None: {"rabbitmq_version": "4.0.5"} if path == "/overview" else []
    with pytest.raises(module.RefusedError, match=r"4\.0\.5 has no mirrored queues"):
        played.requests()


# -- the replica set --

SET = {
    "name": "canopsis",
    "members": ["a:1"],
    "address": "a:1",
    "local": "a:1",
    "admin_user": "admin",
    "admin_password": "x",
    "users": [{"name": "engines", "password": "y", "roles": ["readWrite@canopsis"]}],
    "actors": [],
    "expelled": [],
    "recover": False,
    "timeout": 0.1,
    "sync_timeout": 0.1,
}
LEADS = {"ok": 1, "setName": "canopsis", "hosts": ["a:1"], "isWritablePrimary": True}


class Members:
    """Plays the members: what each says by its address; what is done is noted."""

    def __init__(self, module: ModuleType, said: dict[str, dict[str, Any]], admin: bool = True) -> None:
        self.done: list[str] = []
        self.said = said
        self.site = module.ReplicaSet({**SET, "members": sorted(said)})
        self.site.hello = lambda address: said[address]
        self.site._config = lambda _address: (False, {})
        self.site.logs_in = lambda _address, _user, _password: admin
        self.site._userless = lambda: True
        self.site.apply = self._apply
        self.site.ensure_admin = lambda _primary, **_mode: [] if admin else ["create user admin"]
        self.site.ensure_users = lambda check_mode: [] if check_mode else ["users"]

    def _apply(self, step: Step) -> None:
        self.done.append(step.text())
        if step.action == "initiate":
            self.said[step.address].update(setName="canopsis", hosts=[step.address], isWritablePrimary=True)


def test_a_new_set_is_initiated_then_gets_its_administrator_then_grows(module_of: ModuleOf) -> None:
    module = module_of("canopsis_replica_set")
    played = Members(module, {"a:1": {"ok": 1}, "b:1": {"ok": 1}}, admin=False)
    lines = module._keep(played.site, check_mode=False)["steps"]
    assert played.done == ["initiate a:1", "add b:1 (through a:1)", "vote b:1 (through a:1)"]
    assert lines == [played.done[0], "create user admin", *played.done[1:], "users"]


def test_check_mode_does_nothing(module_of: ModuleOf) -> None:
    module = module_of("canopsis_replica_set")
    played = Members(module, {"a:1": dict(LEADS), "b:1": {"ok": 1}})
    assert module._keep(played.site, check_mode=True)["steps"] == ["add b:1 (through a:1)", "vote b:1 (through a:1)"]
    assert played.done == []


def test_check_mode_shows_the_users_of_a_set_without_administrator(module_of: ModuleOf) -> None:
    module = module_of("canopsis_replica_set")
    played = Members(module, {"a:1": dict(LEADS)}, admin=False)
    assert module._keep(played.site, check_mode=True)["steps"] == ["create user admin", "create user engines"]
    assert played.done == []


def test_another_host_acts(module_of: ModuleOf) -> None:
    module = module_of("canopsis_replica_set")
    played = Members(module, {"a:1": {"ok": 1}, "b:1": {"ok": 1}})
    played.site.params.update(address="b:1", actors=["a:1", "b:1"])
    assert module._keep(played.site, check_mode=False) == module._result([], ())
    assert played.done == []


def test_members_are_observed(module_of: ModuleOf) -> None:
    module = module_of("canopsis_replica_set")
    said: dict[str, dict[str, Any]] = {
        "a:1": {"setName": "canopsis", "hosts": ["a:1"], "passives": ["b:1"], "isWritablePrimary": True},
        "b:1": {"setName": "canopsis", "hosts": ["a:1"], "passives": ["b:1"], "secondary": True, "me": "b:1"},
        "c:1": {},
        "d:1": {"ok": 1},
    }
    site = Members(module, said).site
    seen = [site.observe(address) for address in sorted(said)]
    assert [(m.reachable, m.set_name, m.state, m.writable, m.known_as) for m in seen] == [
        (True, "canopsis", "PRIMARY", True, ""),
        (True, "canopsis", "SECONDARY", False, "b:1"),
        (False, "", "", False, ""),
        (True, "", "OTHER", False, ""),
    ]
    assert seen[0].config == ("a:1", "b:1")


def test_a_member_of_no_group_is_observed_too(module_of: ModuleOf) -> None:
    module = module_of("canopsis_replica_set")
    said: dict[str, dict[str, Any]] = {
        "a:1": {"setName": "canopsis", "hosts": ["a:1", "b:1"], "secondary": True, "primary": "b:1"},
        "b:1": {"setName": "canopsis", "hosts": ["a:1", "b:1"], "isWritablePrimary": True},
    }
    site = Members(module, said).site
    site.params["members"] = ["a:1"]
    assert [(member.address, member.wanted) for member in site.observed()] == [("a:1", True), ("b:1", False)]
    assert site.primary() == "b:1"


def test_a_set_without_primary_is_named(module_of: ModuleOf) -> None:
    module = module_of("canopsis_replica_set")
    site = Members(module, {"a:1": {"setName": "canopsis", "hosts": ["a:1"], "secondary": True}}).site
    with pytest.raises(module.RefusedError, match="no primary"):
        site.primary()


def test_a_newcomer_has_no_vote_until_it_has_the_data() -> None:
    members = with_newcomer([{"_id": 0, "host": "a:1"}, {"_id": 4, "host": "b:1"}], "c:1")
    assert members[2] == {"_id": 5, "host": "c:1", "priority": 0, "votes": 0}
    assert with_newcomer(members, "c:1") == members
    assert voting(members[2], "c:1") == {"_id": 5, "host": "c:1", "priority": 1, "votes": 1}
    assert voting(members[2], "other:1") == members[2]


def test_a_refused_login_is_known_in_its_disguise() -> None:
    assert login_refused(ValueError("127.0.0.1:1: Authentication failed., full error: {'code': 18}"))
    assert not login_refused(ValueError("127.0.0.1:1: [Errno 111] Connection refused"))


@pytest.mark.parametrize(("address", "loopback"), [("127.0.0.1:1", True), ("a:1", False)])
def test_tls_is_used_when_a_ca_is_given(module_of: ModuleOf, address: str, loopback: bool) -> None:
    site = module_of("canopsis_replica_set").ReplicaSet({**SET, "tls_ca": "/ca.pem"})
    assert site._tls(address) == {"tls": True, "tlsCAFile": "/ca.pem", "tlsAllowInvalidHostnames": loopback}
    site.params["tls_ca"] = ""
    assert site._tls(address) == {}


# -- smoke --


class Web:
    """Plays a web host over the alarms ``alarms`` of its site."""

    def __init__(self, url: str, alarms: dict[str, int], refusals: int = 0) -> None:
        self.url, self.alarms, self.refusals = url, alarms, refusals
        self.sent: list[int] = []

    def send(self, resource: str, state: int) -> None:
        """Take an event, or refuse it with 503."""
        if self.refusals:
            self.refusals -= 1
            raise urllib.error.HTTPError(self.url, 503, "not now", None, None)  # type: ignore[arg-type]
        self.sent.append(state)
        self.alarms[resource] = state

    def states(self, resource: str) -> list[int]:
        """Return what is known of ``resource``."""
        return [self.alarms[resource]] if resource in self.alarms else []


def test_smoke_opens_and_closes_through_every_host(module_of: ModuleOf) -> None:
    alarms: dict[str, int] = {}
    one, two = Web("http://a:1", alarms), Web("http://b:1", alarms)
    assert module_of("canopsis_smoke").attempt([one, two], one, 1.0) >= 0
    assert one.sent == [2, 0]
    assert alarms == {"a:1": 0}


def test_smoke_waits_for_a_site_that_is_starting(module_of: ModuleOf) -> None:
    web = Web("http://a:1", {}, refusals=2)
    module_of("canopsis_smoke").attempt([web], web, 5.0)
    assert web.sent == [2, 0]


@pytest.mark.parametrize(("known", "why"), [({}, "it has no alarm"), ({"a:1": 1}, "its alarm has state 1")])
def test_smoke_says_what_it_saw_instead(module_of: ModuleOf, known: dict[str, int], why: str) -> None:
    module = module_of("canopsis_smoke")
    sender, blind = Web("http://a:1", {}), Web("http://b:1", known)
    with pytest.raises(module.FailedError, match=f"sent through http://a:1 is not seen through http://b:1.*{why}"):
        module.attempt([sender, blind], sender, 0.05)


def test_smoke_says_that_the_site_refuses(module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    module, web = module_of("canopsis_smoke"), Web("http://a:1", {})

    def refuse(_resource: str, _state: int) -> None:
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(web, "send", refuse)
    with pytest.raises(module.FailedError, match=r"takes no event: nobody there; see var/log/webserver\.log"):
        module.attempt([web], web, 0.05)


# -- capacity --


def test_held_space_is_what_is_on_disk(module_of: ModuleOf, tmp_path: Path) -> None:
    module = module_of("canopsis_capacity")
    (tmp_path / "index-1.wt").write_bytes(b"x" * 8192)
    (tmp_path / "collection-1.wt").write_bytes(b"x" * 16384)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert module.held(tmp_path) >= 24576
    assert module.held(tmp_path) < 1 << 20
    assert 8192 <= module.held(tmp_path, "index-") < 16384
    assert module.held(tmp_path / "absent") == 0


def test_a_path_that_is_not_there_yet_counts_where_it_will_be(module_of: ModuleOf, tmp_path: Path) -> None:
    module = module_of("canopsis_capacity")
    assert module.nearest(tmp_path / "a" / "b") == tmp_path
    assert Path(module.mount_of(tmp_path)).is_mount()
    assert module.memory() > 0


@pytest.mark.parametrize(
    ("command", "environment", "ours"),
    [
        ("/opt/canopsis/opt/mongodb/6/bin/mongod\0--config\0x", "", True),
        ("epmd\0-port\0", "A=1\0SUPERVISOR_SERVER_URL=unix:///opt/canopsis/var/run/supervisor.sock\0", True),
        ("python\0x", "CANOPSIS_PREFIX=/opt/canopsis\0", True),
        ("python\0x", "CANOPSIS_PREFIX=/opt/canopsis2\0", False),
        ("/opt/canopsis2/opt/mongodb/bin/mongod", "", False),
        ("nginx", "", False),
    ],
)
def test_what_belongs_to_this_prefix_is_ours(
    module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch, command: str, environment: str, ours: bool
) -> None:
    module = module_of("canopsis_capacity")
    texts = {"cmdline": command, "environ": environment}
    monkeypatch.setattr(module, "_text", lambda _pid, name: texts[name])
    assert module._listener(80, "root", 7, Path("/opt/canopsis"), "canopsis").ours is ours


@pytest.mark.parametrize(("owner", "ours"), [("root", False), ("canopsis", True)])
def test_a_process_we_may_not_look_at_is_known_by_its_user(module_of: ModuleOf, owner: str, ours: bool) -> None:
    found = module_of("canopsis_capacity")._listener(80, owner, None, Path("/opt/canopsis"), "canopsis")
    assert (found.process, found.ours) == (f"a process of {owner}", ours)


# -- supervisor --


class Supervisor:
    """Plays supervisord: programs by state; what is asked is noted."""

    def __init__(self, states: dict[str, str], changed: frozenset[str] = frozenset()) -> None:
        self.states, self.changed = states, changed
        self.done: list[str] = []

    def reread(self) -> SimpleNamespace:
        """Return what differs."""
        return SimpleNamespace(added=frozenset(), changed=self.changed, removed=frozenset())

    def programs(self) -> list[SimpleNamespace]:
        """Return every program."""
        return [SimpleNamespace(name=name, state=state) for name, state in self.states.items()]

    def wait(self, name: str, _states: frozenset[str], _timeout: float) -> SimpleNamespace:
        """Return the program as it came to be."""
        return SimpleNamespace(name=name, state="STOPPED", logs=())

    def __getattr__(self, verb: str) -> Callable[[str], None]:
        return lambda name: self.done.append(f"{verb} {name}")


@pytest.mark.parametrize(
    ("params", "states", "changed", "done"),
    [
        ({"programs": ["a", "b"]}, {"a": "RUNNING", "b": "RUNNING"}, ["b"],
         ["stop b", "remove b", "add b", "start b"]),
        ({"programs": ["a"]}, {"a": "RUNNING"}, [], []),
        ({"programs": ["a"], "drifted": True}, {"a": "RUNNING"}, [], ["stop a", "start a"]),
        ({"programs": ["a"]}, {"a": "STOPPED"}, [], ["add a", "start a"]),
        ({"programs": ["a"], "family": "*"}, {"a": "RUNNING", "b": "RUNNING"}, [], ["stop b", "remove b"]),
        ({"programs": ["a"], "state": "absent"}, {"a": "RUNNING", "b": "RUNNING"}, [], ["stop a", "remove a"]),
        ({"programs": ["a"], "state": "absent"}, {"b": "RUNNING"}, [], []),
        ({"programs": ["a", "b"], "hold": True}, {"a": "RUNNING", "b": "STOPPED"}, ["a"], ["add b", "start b"]),
        ({"programs": ["a"], "hold": True, "drifted": True}, {"a": "RUNNING"}, [], []),
    ],
)  # fmt: skip
def test_supervisord_is_asked_in_order(
    module_of: ModuleOf, params: dict[str, Any], states: dict[str, str], changed: list[str], done: list[str]
) -> None:
    module = module_of("canopsis_supervisor")
    site = module.Site(Path("/opt/canopsis"), lambda _text: None)
    site.supervisor = Supervisor(states, frozenset(changed))
    steps, _held = site.plan({"family": "", "drifted": False, "hold": False, "state": "started", **params})
    site.apply(steps)
    assert site.supervisor.done == done


@pytest.mark.parametrize("check_mode", [True, False])
def test_g10_a_dry_run_shows_a_program_whose_file_is_not_written(
    module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    module = module_of("canopsis_supervisor")
    player = Supervisor({"engine-worker": "RUNNING"})
    monkeypatch.setattr(module.Site, "up", lambda _site: True)
    monkeypatch.setattr(module, "Supervisor", lambda _socket: player)
    given = {name: option.get("default") for name, option in module.ARGUMENTS.items()}
    given |= {"prefix": "/opt/canopsis", "programs": ["engine-worker", "engine-worker-2"], "drifted": True}
    given |= {"written": ["etc/engines/worker-2.conf"], "family": "engine-*"}
    asked = SimpleNamespace(params=given, check_mode=check_mode, log=lambda _text: None)
    if not check_mode:
        with pytest.raises(ValueError, match="no program file names engine-worker-2"):
            module.run(asked)
    else:
        assert module.run(asked)["steps"] == ["start engine-worker-2"]
    assert player.done == []


# -- members --


def hello(**fields: Any) -> dict[str, Any]:
    """Return what a member says of itself."""
    return {"isWritablePrimary": False, "secondary": False, **fields}


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (hello(isWritablePrimary=True), "primary"),
        (hello(secondary=True), "secondary"),
        (hello(isreplicaset=True), "not initiated"),
        (hello(), "neither primary nor secondary"),
        ({}, "neither primary nor secondary"),
    ],
)
def test_what_a_member_says_is_its_state(module_of: ModuleOf, said: dict[str, Any], state: str) -> None:
    assert module_of("canopsis_members").state_of(said) == state


def test_a_member_that_does_not_answer_says_why(module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of("canopsis_members")
    monkeypatch.setattr(module, "ANSWER_MS", 50)
    assert module.ask("127.0.0.1:1", "").startswith("no answer: ")


@pytest.mark.parametrize(
    ("answers", "asked", "states"),
    [
        (["primary"], 1, {"a:1": "primary"}),
        (["neither primary nor secondary", "no answer: x", "secondary"], 3, {"a:1": "secondary"}),
        (["not initiated"], 1, {"a:1": "not initiated"}),
    ],
)
def test_members_are_asked_until_they_are_well(
    module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch, answers: list[str], asked: int, states: dict[str, str]
) -> None:
    module = module_of("canopsis_members")
    questions: list[str] = []

    def ask(member: str, _tls_ca: str) -> str:
        questions.append(member)
        return answers[len(questions) - 1]

    monkeypatch.setattr(module, "ask", ask)
    assert module.await_well(["a:1"], "", 30.0) == states
    assert len(questions) == asked


def test_members_that_stay_away_are_returned_when_the_time_is_over(
    module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_of("canopsis_members")
    monkeypatch.setattr(module, "ask", lambda _member, _tls_ca: "no answer")
    assert module.await_well(["a:1", "b:1"], "", 0.0) == {"a:1": "no answer", "b:1": "no answer"}
