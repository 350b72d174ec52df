"""What the replica set's module does to members, with servers that the tests play: retries, refusals, waits."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.canopsis_mongodb import (
    ALREADY_INITIALIZED,
    UNAUTHORIZED,
    UNMAPPED,
    RefusedError,
    ReplicaSet,
    listens,
    words,
)
from ansible.module_utils.canopsis_replica_set import Member, Step
from pymongo.errors import AutoReconnect, ConnectionFailure, NotPrimaryError, OperationFailure
from pymongo.helpers_shared import _check_command_response

PARAMS: dict[str, Any] = {
    "name": "canopsis",
    "members": ["a:1", "b:1"],
    "address": "a:1",
    "local": "127.0.0.1:1",
    "admin_user": "admin",
    "admin_password": "x",
    "users": [],
    "timeout": 0.2,
    "sync_timeout": 0.1,
}


class Server:
    """Plays every server: a command's answer is returned, or raised; each command is noted."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.done: list[tuple[str, Any]] = []

    @property
    def admin(self) -> Server:
        """Stand in for the database admin."""
        return self

    def command(self, verb: str, value: Any = None, **_options: Any) -> Any:
        """Answer; the last answer of a verb stays."""
        self.done.append((verb, value))
        given = self.answers.get(verb, [{}])
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Close nothing."""


def played(said: dict[str, dict[str, Any]], **answers: list[Any]) -> tuple[ReplicaSet, Server]:
    """Return a set whose members say ``said`` and whose servers answer ``answers``."""
    site, server = ReplicaSet(dict(PARAMS)), Server(**answers)
    site.hello = lambda address: said.get(address, {})
    site.client = lambda *_who: server
    return site, server


def config(*hosts: str, votes: int = 1) -> dict[str, Any]:
    """Return a configuration as a server gives it."""
    members = [{"_id": number, "host": host, "votes": votes, "priority": votes} for number, host in enumerate(hosts)]
    return {"config": {"version": 7, "members": members}, "commitmentStatus": True}


LEADS = {"a:1": {"isWritablePrimary": True}, "b:1": {"secondary": True, "primary": "a:1"}}


def sent(server: Server) -> list[dict[str, Any]]:
    """Return the configurations that were sent."""
    return [value for verb, value in server.done if verb == "replSetReconfig"]


NOT_PRIMARY = (91, 189, 10058, 10107, 11600, 11602, 13435, 13436)
"""Codes that a member answers with whose lead has gone elsewhere, or that stops."""


def answered(code: int) -> Exception:
    """Return what pymongo itself raises for a server's error ``code``."""
    with pytest.raises(ConnectionFailure) as raised:
        _check_command_response({"ok": 0, "errmsg": "not primary", "code": code}, None)
    assert isinstance(raised.value, NotPrimaryError)
    return raised.value


@pytest.mark.parametrize("code", NOT_PRIMARY)
@pytest.mark.parametrize("verb", ["replSetGetConfig", "replSetReconfig"])
def test_g11_a_configuration_follows_the_primary(verb: str, code: int) -> None:
    answers = {"replSetGetConfig": [config("a:1", "b:1")], "replSetReconfig": [{}]}
    answers[verb] = [answered(code), *answers[verb]]
    site, server = played(LEADS, **answers)
    site.apply(Step("remove", "b:1"))
    assert [member["host"] for member in sent(server)[-1]["members"]] == ["a:1"]


@pytest.mark.parametrize("code", NOT_PRIMARY)
@pytest.mark.parametrize("verb", ["usersInfo", "createUser"])
def test_g11_users_follow_the_primary(verb: str, code: int) -> None:
    answers: dict[str, list[Any]] = {"usersInfo": [{"users": []}], "createUser": [{}]}
    answers[verb] = [answered(code), *answers[verb]]
    site, server = played(LEADS, **answers)
    site.params["users"] = [{"name": "engines", "password": "x", "roles": ["readWrite@canopsis"]}]
    assert site.ensure_users(check_mode=False) == ["create user engines"]
    assert server.done[-1] == ("createUser", "engines")


@pytest.mark.parametrize("error", [answered(10107), AutoReconnect("closed"), OperationFailure("nobody caught up", 262)])
def test_g11_a_step_down_that_comes_at_a_bad_moment_goes_on(error: Exception) -> None:
    said = {"a:1": {"secondary": True}, "b:1": {"isWritablePrimary": True}}
    site, _server = played(said, replSetStepDown=[error, {}])
    site.apply(Step("step down", "a:1"))


def test_g11_a_member_that_became_primary_meanwhile_steps_down_before_it_is_removed() -> None:
    said = {"a:1": {"isWritablePrimary": True}, "b:1": {"secondary": True}}
    site, server = played(said, replSetGetConfig=[config("a:1", "b:1")])
    command = server.command

    def elects(verb: str, value: Any = None, **options: Any) -> Any:
        if verb == "replSetStepDown":
            said.update({"a:1": {"secondary": True}, "b:1": {"isWritablePrimary": True}})
        return command(verb, value, **options)

    server.command = elects  # type: ignore[method-assign]
    site.apply(Step("remove", "a:1"))
    verbs = [verb for verb, _value in server.done]
    assert verbs.index("replSetStepDown") < verbs.index("replSetReconfig")


def test_g11_an_administrator_whose_answer_was_lost_is_there() -> None:
    site, _server = played(
        LEADS, replSetGetStatus=[{}], createUser=[AutoReconnect("closed"), OperationFailure("no", UNAUTHORIZED)]
    )
    logins = [False, True]
    site.logs_in = lambda *_who: logins.pop(0)
    assert site.ensure_admin("a:1", check_mode=False) == ["create user admin"]


def test_g3_what_a_server_says_is_told_without_its_document() -> None:
    error = OperationFailure("not master, full error: {'ok': 0.0}", 10107)
    assert words(error) == "not master"


def test_a_configuration_that_comes_at_a_bad_moment_is_sent_again() -> None:
    busy = OperationFailure("another is under way", 109)
    site, server = played(LEADS, replSetGetConfig=[config("a:1", "b:1")], replSetReconfig=[busy, {}])
    site.apply(Step("remove", "b:1"))
    assert [member["host"] for member in sent(server)[-1]["members"]] == ["a:1"]
    assert len(sent(server)) == 2


def test_a_configuration_that_is_wrong_is_not() -> None:
    site, server = played(LEADS, replSetGetConfig=[config("a:1")], replSetReconfig=[OperationFailure("no", 93)])
    with pytest.raises(OperationFailure):
        site.apply(Step("remove", "b:1"))
    assert len(sent(server)) == 1


def test_a_set_that_is_always_busy_is_told_with_its_own_words() -> None:
    busy = OperationFailure("another is under way", 109)
    site, _server = played(LEADS, replSetGetConfig=[config("a:1")], replSetReconfig=[busy])
    with pytest.raises(RefusedError, match="no new configuration: another is under way"):
        site.apply(Step("remove", "b:1"))


def test_a_configuration_must_reach_a_majority() -> None:
    site, _server = played(LEADS, replSetGetConfig=[config("a:1") | {"commitmentStatus": False}])
    with pytest.raises(RefusedError, match="a majority of the set has not taken"):
        site.apply(Step("remove", "b:1"))


def test_a_vote_waits_for_the_data() -> None:
    site, server = played(LEADS | {"b:1": {"ok": 1}}, replSetGetConfig=[config("a:1", "b:1", votes=0)])
    with pytest.raises(RefusedError, match=r"b:1 has not the data yet; run site\.yml again"):
        site.apply(Step("vote", "b:1"))
    assert sent(server) == []


@pytest.mark.parametrize(
    ("code", "why"), [(ALREADY_INITIALIZED, "run site.yml again"), (UNMAPPED, "set canopsis_address")]
)
def test_a_set_that_cannot_begin_says_what_to_do(code: int, why: str) -> None:
    site, _server = played({}, replSetInitiate=[OperationFailure("no", code)])
    with pytest.raises(RefusedError, match=why):
        site.apply(Step("initiate", "a:1"))


def test_a_primary_that_hangs_up_as_it_steps_down_has_done_so() -> None:
    said = {"a:1": {"secondary": True}, "b:1": {"isWritablePrimary": True}}
    site, server = played(said, replSetStepDown=[AutoReconnect("closed")])
    site.apply(Step("step down", "a:1"))
    assert [verb for verb, _value in server.done] == ["replSetStepDown"]


def test_nobody_takes_over() -> None:
    site, _server = played({"a:1": {"secondary": True}, "b:1": {"secondary": True}})
    with pytest.raises(RefusedError, match="a:1 stepped down and no other member took over"):
        site.apply(Step("step down", "a:1"))


def test_survivors_without_a_vote_get_one() -> None:
    site, server = played(LEADS, replSetGetConfig=[config("a:1", "b:1", "c:1", votes=0)])
    site.apply(Step("force", "a:1", members=("a:1", "b:1")))
    assert [(member["host"], member["votes"]) for member in sent(server)[0]["members"]] == [("a:1", 1), ("b:1", 1)]


@pytest.mark.parametrize(
    ("primary", "status", "why"),
    [
        ("b:1", {}, "run without --limit"),
        ("a:1", OperationFailure("no", UNAUTHORIZED), "there are users already"),
    ],
)
def test_an_administrator_that_cannot_be_made(primary: str, status: Any, why: str) -> None:
    site, server = played(LEADS, replSetGetStatus=[status])
    site.logs_in = lambda *_who: False
    with pytest.raises(RefusedError, match=why):
        site.ensure_admin(primary, check_mode=False)
    assert "createUser" not in [verb for verb, _value in server.done]


@pytest.mark.parametrize(("check_mode", "made"), [(True, 0), (False, 1)])
def test_the_first_administrator_is_made_here(check_mode: bool, made: int) -> None:
    site, server = played(LEADS, replSetGetStatus=[{}])
    site.logs_in = lambda *_who: False
    assert site.ensure_admin("a:1", check_mode=check_mode) == ["create user admin"]
    assert [verb for verb, _value in server.done].count("createUser") == made


def test_a_server_too_busy_for_a_login_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    site, _server = played(LEADS)
    answers: list[Any] = [AutoReconnect("busy"), AutoReconnect("busy"), True]

    def logs_in(*_who: str) -> bool:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    monkeypatch.setattr(site, "logs_in", logs_in)
    assert site.surely_logs_in("a:1", "admin", "a password")
    answers[:] = [AutoReconnect("dead")]
    site.params["timeout"] = 0.1
    with pytest.raises(AutoReconnect, match="dead"):
        site.surely_logs_in("a:1", "admin", "a password")


def test_a_primary_that_steps_down_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    site, _server = played(LEADS)
    between = [Member("a:1", set_name="canopsis", state="SECONDARY")]
    after = [Member("a:1", set_name="canopsis", state="PRIMARY", writable=True)]
    looks = [between, after]
    monkeypatch.setattr(site, "_settled", lambda: True)
    monkeypatch.setattr(site, "_look", lambda: looks.pop(0))
    assert site.observed() == after


@pytest.mark.parametrize("settled", [True, False])
def test_a_set_that_stays_without_a_primary_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch, settled: bool) -> None:
    site, _server = played(LEADS)
    found = [Member("a:1", set_name="canopsis", state="SECONDARY")]
    monkeypatch.setattr(site, "_settled", lambda: settled)
    monkeypatch.setattr(site, "_look", lambda: list(found))
    assert site.observed() == found


def test_who_does_not_listen_is_known_at_once() -> None:
    assert not listens("127.0.0.1:1")
    assert ReplicaSet(PARAMS).hello("127.0.0.1:1") == {}
