"""The replica set's module over real servers with a keyfile: formed, kept, grown, taken up after interruptions."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from plugin_loader import load
from servers import HOST, MongoDB, Server, eventually

from canopsis.ops import wait

MODULE = load("modules", "canopsis_replica_set")

from ansible.module_utils.canopsis_mongodb import ReplicaSet, login_refused, with_newcomer  # noqa: E402

PORTS = range(31000, 31100)
PASSWORD, CHANGED = "first", "second"


def next_port(used: set[int]) -> int:
    """Return a port of the tests' own range that nobody has."""
    for port in PORTS:
        with socket.socket() as probe:
            if port not in used and probe.connect_ex((HOST, port)) != 0:
                used.add(port)
                return port
    raise AssertionError(f"every port of {PORTS} is taken")


USED: set[int] = set()


class Mongod(MongoDB):
    """One member with keyfile and authentication, in no set until the module puts it there."""

    def command(self) -> list[str]:
        key = self.folder / "key"
        if not key.exists():
            key.write_text("c2l4dHktZm91ciBjaGFyYWN0ZXJz\n")
            key.chmod(0o400)
        fast = ["--setParameter=shutdownTimeoutMillisForSignaledShutdown=100", "--keyFile", str(key)]
        command = [*super().command(), *fast, "--oplogSize", "16"]
        command[command.index("--wiredTigerCacheSizeGB") + 1] = "0.25"
        return command

    @property
    def address(self) -> str:
        """By which the others know it."""
        return f"{HOST}:{self.port}"

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def wipe(self) -> None:
        """Lose everything and come back blank."""
        self.kill()
        shutil.rmtree(self.folder / "data")
        self.start()


@dataclass
class Site:
    """The hosts and what the inventory says."""

    folder: Path
    hosts: list[Mongod] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    admin: str = PASSWORD
    engines: str = PASSWORD

    def grow(self, count: int) -> list[Mongod]:
        """Start ``count`` blank hosts more."""
        new = [Mongod(self.folder / f"m{len(self.hosts) + number}", next_port(USED)) for number in range(count)]
        for host in new:
            host.launch()
        for host in new:
            eventually(host.answers)
        self.hosts += new
        self.wanted += [host.address for host in new]
        return new

    def params(self, address: str, **other: Any) -> dict[str, Any]:
        """Return the parameters of the module on the host at ``address``."""
        users = [{"name": "engines", "password": self.engines, "roles": ["readWrite@canopsis"]}]
        users.append({"name": "webserver", "password": PASSWORD, "roles": ["read@canopsis"]})
        return {
            "name": "canopsis",
            "members": self.wanted,
            "address": address,
            "local": address,
            "admin_user": "admin",
            "admin_password": self.admin,
            "users": users,
            "actors": self.wanted,
            "expelled": [],
            "recover": False,
            "tls_ca": "",
            "timeout": 60.0,
            "sync_timeout": 120.0,
        } | other

    def run(self, *, on: list[str] | None = None, check_mode: bool = False, **other: Any) -> list[str]:
        """Run the module on each host in turn, as the role does; return what was done."""
        living = on or [host.address for host in self.hosts if host.process and host.address in self.wanted]
        given = {"actors": living} | other
        done: list[str] = []
        self.notes: list[str] = []
        for address in living:
            result = MODULE.run(self.params(address, **given), check_mode=check_mode)
            assert result["changed"] == bool(result["steps"])
            done += result["steps"]
            self.notes += result["notes"]
        return done

    def refused(self, **other: Any) -> str:
        """Return why the module refuses."""
        with pytest.raises(MODULE.RefusedError) as refusal:
            self.run(**{"timeout": 1.0, **other})
        return str(refusal.value)

    def spoken(self, address: str = "") -> ReplicaSet:
        """Return a client of the set."""
        return ReplicaSet(self.params(address or self.hosts[0].address))

    def config(self) -> dict[str, Any]:
        """Return the configuration of the set."""
        site = self.spoken()
        config: dict[str, Any] = site.admin(site.primary()).command("replSetGetConfig")["config"]
        site.close()
        return config

    def votes(self) -> dict[str, int]:
        """Return votes by member."""
        return {member["host"]: member["votes"] for member in self.config()["members"]}

    def primary(self) -> Mongod:
        """Return the host of the primary."""
        site = self.spoken()
        address = site.primary()
        site.close()
        return self.at(address)

    def at(self, address: str) -> Mongod:
        """Return the host of an address."""
        return next(host for host in self.hosts if host.address == address)

    def well(self) -> None:
        """Wait until every wanted member has its data."""
        site = self.spoken()
        for address in self.wanted:
            eventually(lambda address=address: site.observe(address).well)  # type: ignore[misc]
        site.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Hosts of its own for each test."""
    made = Site(tmp_path)
    try:
        yield made
    finally:
        for host in made.hosts:
            Server.kill(host)


MADE = ["create user admin", "create user engines", "create user webserver"]


def test_a_set_is_formed_kept_grown_and_shrunk(site: Site) -> None:
    one, two, three = (host.address for host in site.grow(3))
    grown = [f"{verb} {address} (through {one})" for address in (two, three) for verb in ("add", "vote")]
    assert site.run(check_mode=True) == [f"initiate {one}", *grown, *MADE]
    assert site.run() == [f"initiate {one}", MADE[0], *grown, *MADE[1:]]
    assert site.votes() == {one: 1, two: 1, three: 1}
    before = site.config()
    assert site.run() == []
    assert site.run(on=[three]) == []
    assert site.config() == before

    # A password that was changed in the inventory; the old one of the administrator is not guessed.
    site.engines = CHANGED
    assert site.run(check_mode=True) == ["set password of user engines"]
    assert site.run() == ["set password of user engines"]
    assert site.run() == []
    site.admin = CHANGED
    assert "mongodb_admin_password" in site.refused()
    assert "run without --limit" in site.refused(on=[two])
    site.admin = PASSWORD

    # The first host, wiped, comes back into the same set: data is brought to it, and nothing is reconfigured.
    site.at(one).wipe()
    assert site.run(on=[one]) == []
    site.well()
    assert site.config()["settings"] == before["settings"]
    assert site.config()["version"] == before["version"]

    # A stopped member is left as it is, also when it was the primary.
    stopped = site.primary()
    stopped.stop()
    assert site.primary() is not stopped
    assert site.run(timeout=20.0) == []
    assert site.notes == [f"{stopped.address} does not answer; it is left as it is"]
    stopped.start()
    site.well()
    assert site.run() == []

    # Two more, one voting change at a time.
    four, five = (host.address for host in site.grow(2))
    version = site.config()["version"]
    assert [line.split(" (")[0] for line in site.run()] == [
        f"{verb} {a}" for a in (four, five) for verb in ("add", "vote")
    ]
    assert site.config()["version"] >= version + 4
    assert sum(site.votes().values()) == 5

    # A member that the inventory no longer has is reported and stays.
    site.wanted.remove(two)
    assert site.run() == []
    assert any(note.startswith(f"{two} is still a member") for note in site.notes)

    # The primary itself is expelled: it steps down first.
    leader = site.primary().address
    stays = next(address for address in (one, three, four, five) if address != leader)
    steps = site.run(on=[stays], expelled=[leader, two])
    assert steps[-2:] == [f"step down {leader}", f"remove {leader}"]
    assert set(site.votes()) == {one, two, three, four, five} - {leader, two}
    assert site.run(on=[stays], expelled=[leader, two]) == []


@dataclass
class Interrupted:
    """The admin database of a member; an election comes just before the next command called ``verb``."""

    admin: Any
    verbs: list[str]
    elect: Callable[[], None]

    def command(self, verb: str, *values: Any, **options: Any) -> Any:
        """Send the command to the member, primary or not by now."""
        if verb in self.verbs:
            self.verbs.remove(verb)
            self.elect()
        return self.admin.command(verb, *values, **options)


def test_g3_an_election_during_an_action_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [host.address for host in site.grow(3)]
    site.run()
    site.well()
    verbs: list[str] = []
    leaders: list[str] = []

    def elect() -> None:
        """Have another member be primary."""
        spoken = site.spoken()
        leader = spoken.primary()
        spoken.admin(leader).command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=4)
        eventually(lambda: spoken._find_primary() not in ("", leader))
        leaders.append(leader)
        spoken.close()

    class Disturbed(ReplicaSet):
        def admin(self, address: str) -> Any:
            return Interrupted(super().admin(address), verbs, elect)

    monkeypatch.setattr(MODULE, "ReplicaSet", Disturbed)
    leader = site.primary().address
    staying = [address for address in hosts if address != leader]
    verbs.append("replSetReconfig")
    assert site.run(on=staying[:1], expelled=[leader]) == [f"step down {leader}", f"remove {leader}"]
    assert set(site.votes()) == set(staying)
    assert len(leaders) == 1

    site.wanted.remove(leader)
    site.engines = CHANGED
    verbs.append("updateUser")
    assert site.run(on=staying) == ["set password of user engines"]
    assert len(leaders) == 2
    assert site.run(on=staying) == []


def test_a_lost_majority_is_recovered_and_a_lone_member_not_expelled(site: Site) -> None:
    one, two, three = (host.address for host in site.grow(3))
    site.run()
    assert "votes are well" not in "".join(site.run(recover=True))
    assert site.notes[0].startswith("the set has a primary")
    lost = [site.at(address) for address in (one, two)]
    for host in lost:
        host.kill()
    site.hosts.reverse()
    assert "playbooks/recover.yml" in site.refused(on=[three])
    assert "playbooks/recover.yml" in site.refused(on=[three], expelled=[one])
    assert site.run(on=[three], recover=True, timeout=10.0) == [f"force {three} with {three}"]
    assert [note.split(";")[0] for note in site.notes] == [f"{one} is dropped", f"{two} is dropped"]
    assert "last member with a vote" in site.refused(on=[three], expelled=[three])
    lost[0].wipe()
    assert [line.split(" (")[0] for line in site.run(on=[one, three])] == [f"add {one}", f"vote {one}"]
    assert site.votes() == {one: 1, three: 1}
    assert "an even number" in site.notes[-1]


def test_a_primary_that_has_just_lost_its_majority_is_waited_for(site: Site) -> None:
    site.grow(3)
    site.run()
    leader = site.primary().address
    others = [host for host in site.hosts if host.address != leader]
    for host in others:
        host.kill()
    site.hosts.sort(key=lambda host: host.address != leader)
    assert site.run(on=[leader], recover=True, timeout=30.0) == [f"force {leader} with {leader}"]


def test_interrupted_runs_are_taken_up(site: Site) -> None:
    one, two, three = (host.address for host in site.grow(3))
    # Initiated on the host that is last in turn, and nothing more.
    spoken = site.spoken(three)
    config = {"_id": "canopsis", "members": [{"_id": 0, "host": three}]}
    spoken.client(three).admin.command("replSetInitiate", config)
    eventually(lambda: spoken.hello(three).get("isWritablePrimary"))
    assert not spoken.logs_in(three, "admin", PASSWORD)
    assert "run without --limit" in site.refused(on=[one])
    assert site.run(check_mode=True)[-3:] == MADE
    # Initiated, administrator made, a member added without a vote.
    assert spoken.ensure_admin(three, check_mode=False) == MADE[:1]
    spoken._reconfigure(lambda members: with_newcomer(members, one))
    assert site.run() == [
        f"vote {one} (through {three})",
        *(f"{v} {two} (through {three})" for v in ("add", "vote")),
        *MADE[1:],
    ]
    assert sum(site.votes().values()) == 3
    assert site.run() == []
    spoken.close()


def test_foreign_sets_are_refused(site: Site) -> None:
    one, two = (host.address for host in site.grow(2))
    for address in (one, two):
        site.wanted = [address]
        site.run()
    site.wanted = [one, two]
    assert "two different sets called canopsis" in site.refused()
    assert f"{one} is in the replica set canopsis, not other" in site.refused(name="other")
    renamed = one.replace(HOST, "localhost")
    site.wanted = [renamed]
    assert f"the set knows {renamed} as {one}" in site.refused(on=[renamed])


def test_a_refused_login_is_not_an_unreachable_member(site: Site) -> None:
    (host,) = site.grow(1)
    site.run()
    spoken = site.spoken()
    for _attempt in range(3):
        assert not spoken.logs_in(host.address, "admin", "wrong")
    seen = ReplicaSet(site.params(host.address, admin_password="wrong")).observe(host.address)
    assert (seen.reachable, seen.holds, seen.writable) == (True, False, True)
    spoken.close()
    assert wait.until(lambda: login_refused(ValueError("x: Authentication failed., code 18")), 1.0)
