"""The application over handed-in records, accounts and broker: no sockets."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from flask import Flask, Response, request
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from canopsis.api import openapi
from canopsis.api.app import RESOURCES, build
from canopsis.api.ports import Backend, Depth, Look, Message, Session, Window
from canopsis.api.settings import SERVICES, WebSettings
from canopsis.core.health import Server
from canopsis.errors import StoreError, TransportError
from canopsis.store.alarms import AlarmQuery
from canopsis.store.attempts import Found, Rule
from canopsis.store.dead_letters import DeadLetterQuery
from canopsis.store.entities import EntityQuery
from canopsis.store.events import EventQuery
from canopsis.store.metrics import Series
from canopsis.store.operations import Document
from canopsis.store.query import Page, Paging, Weigh, free
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
    """Answers from its fields and keeps the queries; ``away`` makes it refuse."""

    away: str = ""
    page: Page = field(default_factory=lambda: Page(0, []))
    documents: dict[str, Document] = field(default_factory=dict)
    segments: dict[str, Document] = field(default_factory=dict)
    points: Series | None = None
    living: list[Document] = field(default_factory=list)
    queries: list[Any] = field(default_factory=list)
    replayed: list[tuple[object, str]] = field(default_factory=list)
    discarded: list[tuple[object, str, str]] = field(default_factory=list)
    users: dict[str, User] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    failures: dict[str, tuple[int, float]] = field(default_factory=dict)
    clock: float = 0.0
    lookups: int = 0
    version: tuple[int, int] = (1, 1)
    noted: Document = field(default_factory=dict)
    letters: tuple[int, str] = (0, "")
    size: int = 0

    def alarms(self, query: AlarmQuery) -> Page:
        return self._page(query)

    def events(self, query: EventQuery) -> Page:
        return self._page(query)

    def entities(self, query: EntityQuery) -> Page:
        return self._page(query)

    def dead_letters(self, query: DeadLetterQuery) -> Page:
        return self._page(query)

    def metric_names(self, entity_id: str | None, text: str, paging: Paging) -> Page:
        return self._page((entity_id, text, paging))

    def series(self, entity_id: str, metric: str, window: Window) -> Series | None:
        self._asked((entity_id, metric, window))
        return self.points

    def alarm(self, alarm_id: str) -> Document | None:
        self._asked(alarm_id)
        return self.documents.get(alarm_id)

    def alarm_steps(self, segment_id: str) -> Document | None:
        self._asked(segment_id)
        return self.segments.get(segment_id)

    def dead_letter(self, letter_id: str, weigh: Weigh = free) -> Document | None:
        self._asked(letter_id)
        weigh(self.size)
        return self.documents.get(letter_id)

    def mark_replayed(self, letter: Document, user: str, mended: bool = False) -> bool:
        self.replayed.append((letter["_id"], f"{user} mended" if mended else user))
        return True

    def mark_discarded(self, letter_id: object, user: str, comment: str) -> bool:
        self.discarded.append((letter_id, user, comment))
        return True

    def instances(self) -> list[Document]:
        self._asked("instances")
        return self.living

    def chain(self) -> Document:
        self._asked("chain")
        return self.noted

    def schema(self) -> tuple[int, int]:
        return self.version

    def recent_letters(self, _seconds: float) -> tuple[int, str]:
        return self.letters

    def server(self) -> Server:
        return Server("mongodb", ("127.0.0.1:2",), "6.0.5", self.away)

    def user(self, name: str) -> User | None:
        self._asked(name)
        return self.users.get(name)

    def user_by_key(self, sha256: str) -> User | None:
        self.lookups += 1
        self._asked(sha256)
        holders = (user for user in self.users.values() if any(key.sha256 == sha256 for key in user.authkeys))
        return next(holders, None)

    def begin_session(self, token_sha256: str, user: User, lifetime: float) -> None:  # noqa: ARG002
        self._asked(user)
        self.sessions[token_sha256] = Session(user.name, user.binding)

    def attempts(self, keys: Sequence[str]) -> dict[str, Found]:
        self._asked(keys)
        known = {key: self.failures[key] for key in keys if key in self.failures}
        return {key: Found(count, max(0.0, until - self.clock)) for key, (count, until) in known.items()}

    def attempt_failed(self, key: str, rule: Rule) -> bool:
        self._asked(key)
        count, until = self.failures.get(key, (0, 0.0))
        if until > self.clock:
            return False
        over = count + 1 - rule.free
        self.failures[key] = (count + 1, self.clock + (min(2.0**over, rule.longest) if over >= 0 else 0.0))
        return True

    def attempt_succeeded(self, key: str, known: str) -> None:
        self._asked(key)
        self.failures.pop(key, None)
        self.failures[known] = (0, 0.0)

    def session(self, token_sha256: str) -> Session | None:
        self._asked(token_sha256)
        return self.sessions.get(token_sha256)

    def end_session(self, token_sha256: str) -> None:
        self._asked(token_sha256)
        self.sessions.pop(token_sha256, None)

    def _page(self, query: object) -> Page:
        self._asked(query)
        return self.page

    def _asked(self, query: object) -> None:
        if self.away:
            raise StoreError(self.away)
        self.queries.append(query)


def _document() -> dict[str, Any]:
    return openapi.document([endpoint for resource in RESOURCES for endpoint in resource.endpoints])


DOCUMENT = _document()
PATHS = {endpoint.path: endpoint.shown_path for resource in RESOURCES for endpoint in resource.endpoints}


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Return the validator of a schema of the OpenAPI document."""
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def violations(rule: str, method: str, answer: Response) -> list[str]:
    """Return what of the answer of a call the OpenAPI document does not tell."""
    told = DOCUMENT["paths"][PATHS[rule]].get(method.lower(), {"responses": {}})["responses"]
    found = told.get(str(answer.status_code), {"content": {}})["content"].get(answer.mimetype)
    if found is None:
        return [f"{method} {rule} answers {answer.status_code} with {answer.mimetype}: not documented"]
    return [f"{method} {rule}: {error.message}" for error in validator(found["schema"]).iter_errors(answer.json)]


class Api:
    """An application with its fakes; ``call`` asks it as a user of ``role`` (None: as nobody)."""

    def __init__(self, **settings: Any) -> None:
        self.broker = FakeBroker()
        self.database = FakeDatabase()
        for role in ROLES:
            key = AuthKey("main", sha256(f"key of {role}"))
            self.database.users[f"some-{role}"] = User(name=f"some-{role}", role=role, authkeys=[key])
        self.now = NOW
        numbers = itertools.count()
        backend = Backend(self.database, self.database, self.broker, lambda: self.now, lambda: f"id{next(numbers)}")
        facts: dict[str, Any] = {"secret": "a secret", "services": frozenset(SERVICES)} | settings
        self.app: Flask = build(WebSettings(**facts), backend)
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
            self.violations += violations(request.url_rule.rule, request.method, answer)
        return answer

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
