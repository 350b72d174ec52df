"""Users, permissions and policies of the broker: what is there, what is wanted → the requests that make it so. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

_HASHES = {
    "rabbit_password_hashing_sha256": hashlib.sha256,
    "rabbit_password_hashing_sha512": hashlib.sha512,
}
_SALT = 4
_LAST_MIRRORED = (3, 13)
QUEUES = r"^Engine_"
"""Names of the queues that engines declare."""
_MIRRORS = "ha"


@dataclass(frozen=True)
class Request:
    """One call of the management API. ``says`` is what an operator reads; it never holds a password."""

    method: str
    path: str
    says: str
    body: Mapping[str, Any] = field(default_factory=dict)


def password_matches(stored: str, algorithm: str, password: str) -> bool:
    """Return whether ``password`` is the one behind the salted hash ``stored`` (base64), as the broker keeps it."""
    hashing = _HASHES.get(algorithm)
    if hashing is None:
        return False
    try:
        raw = base64.b64decode(stored, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) > _SALT and hashing(raw[:_SALT] + password.encode()).digest() == raw[_SALT:]


def plan_users(
    present: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], absent: Sequence[str]
) -> list[Request]:
    """Return the requests for users. ``wanted``: ``{name, password, tags}``; ``absent`` are deleted when there."""
    known = {user["name"]: user for user in present}
    requests = [_user(known.get(user["name"]), user) for user in wanted]
    gone = [Request("DELETE", f"/users/{_part(name)}", f"delete user {name}") for name in absent if name in known]
    return [request for request in requests if request] + gone


def _user(old: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> Request | None:
    name, tags = wanted["name"], wanted.get("tags", "")
    body = {"password": wanted["password"], "tags": tags}
    path = f"/users/{_part(name)}"
    if old is None:
        return Request("PUT", path, f"add user {name}", body)
    if not password_matches(old.get("password_hash", ""), old.get("hashing_algorithm", ""), wanted["password"]):
        return Request("PUT", path, f"change the password of user {name}", body)
    if _tags(old.get("tags", "")) != _tags(tags):
        return Request("PUT", path, f"change the tags of user {name}", body)
    return None


def plan_vhost(present: Sequence[Mapping[str, Any]], name: str) -> list[Request]:
    """Return the request that makes the virtual host ``name``, or none."""
    if any(vhost["name"] == name for vhost in present):
        return []
    return [Request("PUT", f"/vhosts/{_part(name)}", f"add virtual host {name}")]


def plan_permissions(
    present: Sequence[Mapping[str, Any]], vhost: str, wanted: Sequence[Mapping[str, Any]]
) -> list[Request]:
    """Return the requests for permissions. ``wanted``: ``{name, configure, write, read}`` (regular expressions)."""
    known = {(row["user"], row["vhost"]): _rights(row) for row in present}
    return [
        Request(
            "PUT",
            f"/permissions/{_part(vhost)}/{_part(user['name'])}",
            f"set the permissions of user {user['name']}",
            _rights(user),
        )
        for user in wanted
        if known.get((user["name"], vhost)) != _rights(user)
    ]


def plan_policies(
    present: Sequence[Mapping[str, Any]], vhost: str, wanted: Sequence[Mapping[str, Any]]
) -> list[Request]:
    """Return the requests for policies: wanted ones as given, others of this virtual host deleted."""
    known = {row["name"]: _policy(row) for row in present if row["vhost"] == vhost}
    names = {policy["name"] for policy in wanted}
    changes = [
        Request("PUT", _policy_path(vhost, policy["name"]), f"set policy {policy['name']}", _policy(policy))
        for policy in wanted
        if known.get(policy["name"]) != _policy(policy)
    ]
    gone = sorted(set(known) - names)
    return changes + [Request("DELETE", _policy_path(vhost, name), f"delete policy {name}") for name in gone]


def ha_refusal(mode: str, version: str) -> str:
    """Return why brokers of ``version`` cannot keep queues in ``mode`` (quorum, classic), '' when they can."""
    release = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if mode == "classic" and release > _LAST_MIRRORED:
        return f"rabbitmq_ha_mode is classic, and RabbitMQ {version} has no mirrored queues: set it to quorum"
    return ""


def unmirror_refusal(
    mode: str, version: str, policies: Sequence[Mapping[str, Any]], queues: Sequence[Mapping[str, Any]]
) -> str:
    """Return why mirroring cannot end in ``mode``: classic queues would keep one copy; '' when none is mirrored."""
    mirrored = not ha_refusal("classic", version) and any(policy["name"] == _MIRRORS for policy in policies)
    if mode == "classic" or not mirrored:
        return ""
    names = sorted(
        queue["name"] for queue in queues if queue.get("type") == "classic" and re.match(QUEUES, queue["name"])
    )
    if not names:
        return ""
    return (
        f"{', '.join(names)} would have one copy each with rabbitmq_ha_mode quorum: a queue keeps its type. Stop the "
        "engines when they are empty, delete them (rabbitmqctl delete_queue NAME -p VHOST --if-empty), run this again"
    )


def ha_policies(mode: str, nodes: int) -> list[dict[str, Any]]:
    """Return the policies that mirror classic queues to more than half of ``nodes``; none for quorum queues."""
    if mode != "classic" or nodes < 2:
        return []
    definition = {
        "ha-mode": "exactly",
        "ha-params": nodes // 2 + 1,
        "ha-sync-mode": "automatic",
        "ha-promote-on-shutdown": "when-synced",
        "ha-promote-on-failure": "when-synced",
    }
    return [{"name": _MIRRORS, "pattern": QUEUES, "definition": definition, "priority": 0, "apply-to": "queues"}]


def _rights(row: Mapping[str, Any]) -> dict[str, str]:
    return {right: row[right] for right in ("configure", "write", "read")}


def _policy(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pattern": row["pattern"],
        "definition": dict(row["definition"]),
        "priority": row.get("priority", 0),
        "apply-to": row.get("apply-to", "all"),
    }


def _policy_path(vhost: str, name: str) -> str:
    return f"/policies/{_part(vhost)}/{_part(name)}"


def _tags(tags: str | Sequence[str]) -> set[str]:
    parts = tags.split(",") if isinstance(tags, str) else tags
    return {part.strip() for part in parts if part.strip()}


def _part(text: str) -> str:
    return quote(text, safe="")
