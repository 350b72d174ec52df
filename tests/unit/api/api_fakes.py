"""The application over a handed-in database and broker: no sockets."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from flask import Flask, Response, request
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from canopsis.api import openapi
from canopsis.api.app import RESOURCES, build
from canopsis.api.endpoints import Resource
from canopsis.api.ports import Backend, Depth, Look, Message
from canopsis.api.resources import SERVICES
from canopsis.api.settings import WebSettings
from canopsis.core.health import Server
from canopsis.errors import StoreError, TransportError
from canopsis.store import (
    alarm_steps,
    alarms,
    attempts,
    dead_letters,
    entities,
    events,
    leases,
    metrics,
    migrations,
    notifications,
    sessions,
    users,
)
from canopsis.store.alarms import Standing
from canopsis.store.attempts import Found, Rule
from canopsis.store.metrics import Series
from canopsis.store.operations import Document
from canopsis.store.query import Page, Weigh
from canopsis.store.users import AuthKey, Role, User

NOW = 1_750_000_000.0
ROLES: tuple[Role, ...] = ("reader", "operator", "admin")


def sha256(text: str) -> str:
    """Return the hex SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class FakeBroker:
    """Keeps what is published; ``away`` makes it refuse."""

    away: str = ""
    published: list[Message] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    readers: dict[str, int] = field(default_factory=dict)
    blocked: str = ""
    missing: tuple[str, ...] = ()
    silent: dict[str, str] = field(default_factory=dict)

    def publish(self, messages: Sequence[Message]) -> None:
        if self.away:
            raise TransportError(self.away)
        self.published += messages

    def look(self, queues: Sequence[str]) -> Look:
        return Look({queue: self.depth(queue) for queue in queues}, self.missing, self.silent)

    def depth(self, queue: str) -> Depth | None:
        if self.away:
            raise TransportError(self.away)
        return Depth(self.waiting[queue], self.readers.get(queue, 1)) if queue in self.waiting else None

    def server(self) -> Server:
        return Server("rabbitmq-server", ("127.0.0.1:1",), "3.10.8", self.away, self.blocked)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of all messages, in order."""
        found: list[dict[str, Any]] = []
        for message in self.published:
            decoded = msgspec.json.decode(message.body)
            found += decoded if isinstance(decoded, list) else [decoded]
        return found


@dataclass
class FakeDatabase:
    """Has an answer for each function of the store, and keeps what was asked; ``away`` makes it refuse."""

    away: str = ""
    page: Page = field(default_factory=lambda: Page(0, []))
    documents: dict[str, Document] = field(default_factory=dict)
    segments: dict[str, Document] = field(default_factory=dict)
    points: Series | None = None
    living: list[Document] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    sessions: dict[str, Document] = field(default_factory=dict)
    failures: dict[str, tuple[int, float]] = field(default_factory=dict)
    clock: float = 0.0
    version: int = migrations.VERSION
    noted: Document = field(default_factory=dict)
    letters: tuple[int, str] = (0, "")
    size: int = 0
    standing: list[Standing] = field(default_factory=list)
    unsent: int = 0

    def __post_init__(self) -> None:
        page = lambda *_query: self.page  # noqa: E731 - every list answers the same
        self.answers: dict[Callable[..., Any], Callable[..., Any]] = {
            alarms.listing: page,
            events.listing: page,
            entities.listing: page,
            dead_letters.listing: page,
            metrics.names: page,
            metrics.window: lambda *_series, **_window: self.points,
            alarms.standing_by_state: lambda: self.standing,
            notifications.count_waiting: lambda: self.unsent,
            alarms.get: self.documents.get,
            alarms.whole: self.documents.get,
            alarm_steps.before: self._steps_before,
            dead_letters.get: self._letter,
            dead_letters.mark_replayed: lambda *_letter: True,
            dead_letters.mark_discarded: lambda *_letter: True,
            dead_letters.recent: lambda _seconds: self.letters,
            leases.all_instances: lambda: self.living,
            leases.chain: lambda: self.noted,
            migrations.version: lambda: self.version,
            users.get: self.users.get,
            users.by_key: self._holder,
            sessions.create: self._begin,
            sessions.find: self.sessions.get,
            sessions.delete: lambda token: self.sessions.pop(token, None),
            sessions.delete_of: self._end_all,
            attempts.find: self._attempts,
            attempts.failed: self._failed,
            attempts.forget: lambda key: self.failures.pop(key, None),
            attempts.remember: lambda key: self.failures.update({key: (0, 0.0)}),
        }

    def ask(self, function: Callable[..., Any], *args: Any, **facts: Any) -> Any:
        if self.away:
            raise StoreError(self.away)
        self.asked.append((function, *args))
        self.facts = facts
        return self.answers[function](*args, **facts)

    @property
    def query(self) -> Any:
        """What the last question was about."""
        return self.asked[-1][1]

    def server(self) -> Server:
        return Server("mongodb", ("127.0.0.1:2",), "6.0.5", self.away)

    def calls_of(self, function: Callable[..., Any]) -> list[tuple[Any, ...]]:
        """Return the arguments of each call of a function of the store."""
        return [args for asked, *args in self.asked if asked is function]

    def _letter(self, letter_id: str, weigh: Weigh) -> Document | None:
        weigh(self.size)
        return self.documents.get(letter_id)

    def _steps_before(self, alarm_id: str, newest: str, most: int) -> tuple[list[Document], str] | None:
        found: list[Document] = []
        while newest and len(found) < most:
            segment = self.segments.get(newest)
            if segment is None or segment["alarm_id"] != alarm_id:
                return None
            found, newest = segment["steps"] + found, segment["older"]
        return found, newest

    def _holder(self, sha256: str) -> User | None:
        holders = (user for user in self.users.values() if any(key.sha256 == sha256 for key in user.authkeys))
        return next(holders, None)

    def _begin(self, token_sha256: str, user: str, _lifetime: float, **facts: object) -> None:
        self.sessions[token_sha256] = {"user": user, **facts}

    def _end_all(self, user: str) -> None:
        for token in [each for each, found in self.sessions.items() if found["user"] == user]:
            del self.sessions[token]

    def _attempts(self, keys: Sequence[str]) -> dict[str, Found]:
        known = {key: self.failures[key] for key in keys if key in self.failures}
        return {key: Found(count, max(0.0, until - self.clock)) for key, (count, until) in known.items()}

    def _failed(self, key: str, rule: Rule) -> bool:
        count, until = self.failures.get(key, (0, 0.0))
        if until > self.clock:
            return False
        over = count + 1 - rule.free
        self.failures[key] = (count + 1, self.clock + (min(2.0**over, rule.longest) if over >= 0 else 0.0))
        return True


DOCUMENT = openapi.document([endpoint for resource in RESOURCES for endpoint in resource.endpoints], {})


def validator(schema: dict[str, Any], document: Mapping[str, Any] = DOCUMENT) -> Draft202012Validator:
    """Return the validator of a schema of the OpenAPI document."""
    return Draft202012Validator({**schema, "components": document["components"]})


class Api:
    """An application with its fakes; ``call`` asks it as a user of ``role`` (None: as nobody)."""

    def __init__(self, resources: Sequence[Resource] = RESOURCES, **settings: Any) -> None:
        self.broker = FakeBroker()
        self.database = FakeDatabase()
        for role in ROLES:
            key = AuthKey("main", sha256(f"key of {role}"))
            self.database.users[f"some-{role}"] = User(name=f"some-{role}", role=role, authkeys=[key])
        self.now = NOW
        numbers = itertools.count()
        backend = Backend(self.database, self.broker, lambda: self.now, lambda: f"id{next(numbers)}")
        facts: dict[str, Any] = {"secret": "a secret", "services": frozenset(SERVICES)} | settings
        self.app: Flask = build(WebSettings(**facts), backend, resources)
        self.endpoints = [endpoint for resource in resources for endpoint in resource.endpoints]
        self.document = openapi.document(self.endpoints, {})
        self.app.after_request(self._check)
        self.violations: list[str] = []
        self.client = self.app.test_client()

    def call(self, method: str, path: str, role: str | None = "admin", **options: Any) -> TestResponse:
        headers = dict(options.pop("headers", {}))
        if role is not None:
            headers["X-Canopsis-Authkey"] = f"key of {role}"
        answer = self.client.open(path, method=method, headers=headers, **options)
        assert self.violations == []
        return answer

    def _check(self, answer: Response) -> Response:
        """Note what of an answer the OpenAPI document does not tell."""
        if request.url_rule is not None:
            self.violations += self._untold(request.url_rule.rule, request.method, answer)
        return answer

    def _untold(self, rule: str, method: str, answer: Response) -> list[str]:
        [path] = {each.shown_path for each in self.endpoints if each.path == rule}
        told = self.document["paths"][path].get(method.lower(), {"responses": {}})["responses"]
        found = told.get(str(answer.status_code))
        if found is None or ("content" in found) is not bool(answer.data):
            return [f"{method} {rule} answers {answer.status_code}: not documented"]
        if not answer.data:
            return []
        schema = found["content"].get(answer.mimetype, {"schema": {"not": {}}})["schema"]
        said = answer.json if answer.is_json else answer.get_data(as_text=True)
        errors = validator(schema, self.document).iter_errors(said)
        return [f"{method} {rule}: {error.json_path}: {error.message}" for error in errors]

    def get(self, path: str, role: str | None = "admin", **options: Any) -> TestResponse:
        return self.call("GET", path, role, **options)

    def post(self, path: str, json: object = None, role: str | None = "admin", **options: Any) -> TestResponse:
        return self.call("POST", path, role, json=json, **options)


def alarm(**facts: Any) -> Document:
    """Return an open critical alarm of ``resource:web1/disk``."""
    return {
        "_id": "a1",
        "open": True,
        "entity_id": "resource:web1/disk",
        "source_type": "resource",
        "connector": "shell",
        "connector_name": "test",
        "component": "web1",
        "resource": "disk",
        "state": 2,
        "status": 1,
        "created": 0.0,
        "updated": 0.0,
        "last_event": 0.0,
        "ack": None,
        "cancel": None,
        "steps": [],
    } | facts


def event(**facts: Any) -> dict[str, Any]:
    """Return a good check of ``resource:web1/disk``; None takes a key away."""
    found = {
        "connector": "shell",
        "connector_name": "test",
        "event_type": "check",
        "source_type": "resource",
        "component": "web1",
        "resource": "disk",
        "state": 2,
        "output": "full",
    } | facts
    return {name: value for name, value in found.items() if value is not None}
