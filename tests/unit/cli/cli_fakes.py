"""An API that is handed in: it keeps every request and answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from canopsis.ops.apiclient import Answer

Respond = Callable[["Asked"], Answer]


@dataclass(frozen=True)
class Asked:
    """A request as it would go out."""

    method: str
    path: str
    body: bytes | None
    query: Mapping[str, object]

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass
class FakeApi:
    """Takes the place of the connection: every request is kept, ``respond`` answers it."""

    respond: Respond | None = None
    asked: list[Asked] = field(default_factory=list)

    def answer(self, data: object, status: int = 200, reason: str = "OK", **more: object) -> None:
        """Answer every request with ``data`` in the envelope of the API."""
        body: dict[str, object] = {
            "success": True,
            "data": data,
            "total": more.pop("total", len(data) if isinstance(data, list) else 1),
        }
        self.respond = lambda _asked: Answer(status, reason, json.dumps(body | more).encode())

    def refuse(self, status: int, detail: str, **more: object) -> None:
        """Answer every request with a problem."""
        content = json.dumps({"detail": detail, **more}).encode()
        self.respond = lambda _asked: Answer(status, "Refused", content, "application/problem+json")
