"""Users, rights and policies of the broker: requests only for what differs, passwords compared by their hash."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from ansible.module_utils.canopsis_rabbitmq import (
    ha_policies,
    ha_refusal,
    password_matches,
    plan_permissions,
    plan_policies,
    plan_users,
    plan_vhost,
    unmirror_refusal,
)

SHA256 = "rabbit_password_hashing_sha256"


def stored(password: str, salt: bytes = b"\x01\x02\x03\x04", algorithm: str = "sha256") -> str:
    """Return a hash as the broker keeps it."""
    return base64.b64encode(salt + hashlib.new(algorithm, salt + password.encode()).digest()).decode()


def user(name: str, password: str, tags: Any = "") -> dict[str, Any]:
    """Return a user as the management API shows it."""
    return {"name": name, "password_hash": stored(password), "hashing_algorithm": SHA256, "tags": tags}


@pytest.mark.parametrize(
    ("hashed", "algorithm", "password", "expected"),
    [
        (stored("right"), SHA256, "right", True),
        (stored("right"), SHA256, "wrong", False),
        (stored("right"), SHA256, "", False),
        (stored("é€"), SHA256, "é€", True),
        (stored("right", algorithm="sha512"), "rabbit_password_hashing_sha512", "right", True),
        (stored("right"), "rabbit_password_hashing_sha512", "right", False),
        (stored("right"), "rabbit_password_hashing_md5", "right", False),
        (stored("right", salt=b"\xff\x00\xff\x00"), SHA256, "right", True),
        ("", SHA256, "right", False),
        ("not base64!", SHA256, "right", False),
        ("AQID", SHA256, "right", False),
    ],
)
def test_a_password_is_proven_by_its_hash(hashed: str, algorithm: str, password: str, expected: bool) -> None:
    assert password_matches(hashed, algorithm, password) is expected


WANTED = {"name": "engines", "password": "right", "tags": ""}


@pytest.mark.parametrize(
    ("present", "says"),
    [
        ([], ["add user engines"]),
        ([user("engines", "right")], []),
        ([user("engines", "right", [])], []),
        ([user("engines", "wrong")], ["change the password of user engines"]),
        ([user("engines", "right", "administrator")], ["change the tags of user engines"]),
        ([user("engines", "right", ["monitoring"])], ["change the tags of user engines"]),
        ([user("engines", "right"), user("guest", "guest")], ["delete user guest"]),
        ([user("engines", "right"), user("somebody", "x")], []),
    ],
)
def test_users(present: list[dict[str, Any]], says: list[str]) -> None:
    assert [r.says for r in plan_users(present, [WANTED], ["guest"])] == says


def test_no_request_says_a_password() -> None:
    for request in plan_users([user("engines", "wrong")], [WANTED], []):
        assert "right" not in request.says + request.path
        assert request.body["password"] == "right"


def test_tags_compare_without_order() -> None:
    wanted = {"name": "a", "password": "right", "tags": "administrator, monitoring"}
    assert plan_users([user("a", "right", ["monitoring", "administrator"])], [wanted], []) == []


def test_names_are_quoted_in_paths() -> None:
    (request,) = plan_users([], [{"name": "a/b c", "password": "x"}], [])
    assert request.path == "/users/a%2Fb%20c"
    assert plan_vhost([], "/")[0].path == "/vhosts/%2F"


@pytest.mark.parametrize(
    ("present", "count"), [([], 1), ([{"name": "/"}], 1), ([{"name": "/"}, {"name": "canopsis"}], 0)]
)
def test_the_virtual_host_is_made_once(present: list[dict[str, Any]], count: int) -> None:
    assert len(plan_vhost(present, "canopsis")) == count


RIGHTS = {"configure": "^$", "write": "^x$", "read": "^$"}


@pytest.mark.parametrize(
    ("present", "count"),
    [
        ([], 1),
        ([{"user": "webserver", "vhost": "canopsis", **RIGHTS}], 0),
        ([{"user": "webserver", "vhost": "/", **RIGHTS}], 1),
        ([{"user": "webserver", "vhost": "canopsis", **RIGHTS, "write": ".*"}], 1),
        ([{"user": "other", "vhost": "canopsis", **RIGHTS}], 1),
    ],
)
def test_permissions(present: list[dict[str, Any]], count: int) -> None:
    requests = plan_permissions(present, "canopsis", [{"name": "webserver", "password": "x", **RIGHTS}])
    assert len(requests) == count
    assert all(dict(r.body) == RIGHTS and r.path == "/permissions/canopsis/webserver" for r in requests)


POLICY = {"name": "limit", "pattern": "^Engine_", "definition": {"delivery-limit": 5}, "apply-to": "queues"}
THERE = {**POLICY, "priority": 0, "vhost": "canopsis"}


@pytest.mark.parametrize(
    ("present", "wanted", "says"),
    [
        ([], [POLICY], ["set policy limit"]),
        ([THERE], [POLICY], []),
        ([{**THERE, "definition": {"delivery-limit": 6}}], [POLICY], ["set policy limit"]),
        ([{**THERE, "priority": 3}], [POLICY], ["set policy limit"]),
        ([{**THERE, "vhost": "/"}], [POLICY], ["set policy limit"]),
        ([THERE], [], ["delete policy limit"]),
        ([{**THERE, "vhost": "/"}], [], []),
    ],
)
def test_policies(present: list[dict[str, Any]], wanted: list[dict[str, Any]], says: list[str]) -> None:
    assert [r.says for r in plan_policies(present, "canopsis", wanted)] == says


@pytest.mark.parametrize(("nodes", "copies"), [(2, 2), (3, 2), (4, 3), (5, 3)])
def test_classic_queues_are_mirrored_to_more_than_half(nodes: int, copies: int) -> None:
    (policy,) = ha_policies("classic", nodes)
    assert policy["definition"] == {
        "ha-mode": "exactly",
        "ha-params": copies,
        "ha-sync-mode": "automatic",
        "ha-promote-on-shutdown": "when-synced",
        "ha-promote-on-failure": "when-synced",
    }
    assert (policy["pattern"], policy["apply-to"]) == ("^Engine_", "queues")
    there = [{**policy, "vhost": "canopsis"}]
    assert plan_policies(there, "canopsis", [policy]) == []
    by_hand = [{**there[0], "definition": {**policy["definition"], "ha-mode": "all"}}]
    assert [r.says for r in plan_policies(by_hand, "canopsis", [policy])] == ["set policy ha"]
    assert [r.says for r in plan_policies(there, "canopsis", ha_policies("quorum", nodes))] == ["delete policy ha"]


HA = [{"name": "ha"}]
CLASSIC, QUORUM = {"name": "Engine_a.00", "type": "classic"}, {"name": "Engine_b.00", "type": "quorum"}


@pytest.mark.parametrize(
    ("mode", "version", "policies", "queues", "refused"),
    [
        ("quorum", "3.10.8", HA, [QUORUM, CLASSIC], True),
        ("quorum", "3.10.8", HA, [QUORUM], False),
        ("quorum", "3.10.8", HA, [{"name": "reply", "type": "classic"}], False),
        ("quorum", "3.10.8", [{"name": "mine"}], [CLASSIC], False),
        ("classic", "3.10.8", HA, [CLASSIC], False),
        # Nothing is mirrored there any more, whatever the policy says.
        ("quorum", "4.0.5", HA, [CLASSIC], False),
    ],
)
def test_queues_that_are_mirrored_stay_so(
    mode: str, version: str, policies: list[dict[str, Any]], queues: list[dict[str, Any]], refused: bool
) -> None:
    refusal = unmirror_refusal(mode, version, policies, queues)
    assert bool(refusal) is refused
    assert not refused or refusal.startswith("Engine_a.00 would have one copy")


def test_one_node_and_quorum_queues_need_no_policy() -> None:
    assert ha_policies("classic", 1) == ha_policies("quorum", 3) == []


@pytest.mark.parametrize(
    ("mode", "version", "refused"),
    [
        ("classic", "3.10.8", False),
        ("classic", "3.13.7", False),
        ("classic", "4.0.5", True),
        ("classic", "4.1.0-rc.1", True),
        ("quorum", "4.0.5", False),
        ("quorum", "3.10.8", False),
    ],
)
def test_mirroring_ends_with_release_3(mode: str, version: str, refused: bool) -> None:
    assert bool(ha_refusal(mode, version)) is refused
    assert not refused or version in ha_refusal(mode, version)
