"""Events sent to the API: refused ones are told, the others get through, nothing is counted twice."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from canopsis.errors import SiteError
from canopsis.ops.apiclient import PREFIX, Answer, Api

Event = dict[str, Any]
T = TypeVar("T")

_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one event. ``error`` is empty when the broker has it; ``field`` is what was wrong.

    ``warnings`` say what of it was left out or mended.
    """

    event_id: str
    error: str = ""
    field: str = ""
    warnings: tuple[str, ...] = ()


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to ``size`` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Sender:
    """Sends events. A broker or database that is away is waited for, up to ``patience`` seconds a request."""

    def __init__(self, api: Api, patience: float = 0.0) -> None:
        self._api = api
        self._patience = patience

    def send(self, events: Sequence[Mapping[str, Any]]) -> list[Result]:
        """Send ``events``; return a result for each. Raises SiteError when the API cannot be reached.

        An event without an id gets one, so that sending it again after a doubtful answer makes no second one.
        """
        ready = [{"event_id": uuid.uuid4().hex, **event} for event in events]
        results: dict[int, Result] = {}
        self._send(dict(enumerate(ready)), results)
        return [results[index] for index in range(len(ready))]

    def _send(self, left: dict[int, Event], results: dict[int, Result]) -> None:
        """Send what is ``left``; the API answers for each event."""
        if not left:
            return
        answer = self._post(list(left.values()))
        if answer.status == http.client.REQUEST_ENTITY_TOO_LARGE and len(left) > 1:
            self._send_halves(left, results)
            return
        told = _told(answer)
        for place, (index, event) in enumerate(left.items()):
            results[index] = _result(str(event["event_id"]), told.get(place, {}), answer)

    def _send_halves(self, left: dict[int, Event], results: dict[int, Result]) -> None:
        for half in chunks(left.items(), (len(left) + 1) // 2):
            self._send(dict(half), results)

    def _post(self, events: Sequence[Event]) -> Answer:
        body = _encoded(events)
        deadline = time.monotonic() + self._patience
        while True:
            answer = self._api.call("POST", f"{PREFIX}/events", body)
            pause = answer.retry_after or _PAUSE
            if answer.status != http.client.SERVICE_UNAVAILABLE:
                return answer
            if time.monotonic() + pause > deadline:
                raise SiteError(_unconfirmed(events, answer))
            threading.Event().wait(pause)


def _unconfirmed(events: Sequence[Event], answer: Answer) -> str:
    others = f" and {len(events) - 1} more" if len(events) > 1 else ""
    return (
        f"event {events[0]['event_id']}{others} may count or not: {answer.problem()}; "
        "sent again with the same event_id it counts once; see: canopsis status"
    )


def _encoded(events: Sequence[Event]) -> bytes:
    """Return ``events`` as JSON; a byte that is not UTF-8 travels as the lone surrogate it was read as."""
    try:
        return json.dumps(events, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(events).encode()


def _told(answer: Answer) -> dict[int, Mapping[str, Any]]:
    """Return what the answer says of each event, by its place in the request."""
    try:
        found = json.loads(answer.content)
        each = found.get("data") if answer.good else found.get("errors")
        return {one["index"]: one for one in each or () if isinstance(one["index"], int)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _result(event_id: str, told: Mapping[str, Any], answer: Answer) -> Result:
    """Return the result of one event; what an answer that is no success does not tell apart, it says of all."""
    if answer.good and told.get("status") != "refused":
        warnings = tuple(str(text) for text in told.get("warnings", ()))
        return Result(str(told.get("event_id", event_id)), warnings=warnings)
    return Result(event_id, str(told.get("detail") or answer.problem()), str(told.get("field", "")))
