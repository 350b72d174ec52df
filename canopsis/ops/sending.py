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
    """What became of one event. ``error`` is empty when the broker has it; ``field`` is what was wrong."""

    event_id: str
    error: str = ""
    field: str = ""


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
        """Send what is ``left`` until each has a result; the API takes all events of a request or none."""
        while left:
            answer = self._post(list(left.values()))
            if answer.status == http.client.REQUEST_ENTITY_TOO_LARGE and len(left) > 1:
                self._send_halves(left, results)
                return
            if answer.good:
                results |= {index: Result(str(event["event_id"])) for index, event in left.items()}
                return
            refused = _refused(answer, list(left))
            results |= {i: Result(str(left[i]["event_id"]), *why) for i, why in refused.items()}
            left = {index: event for index, event in left.items() if index not in refused}

    def _send_halves(self, left: dict[int, Event], results: dict[int, Result]) -> None:
        for half in chunks(left.items(), (len(left) + 1) // 2):
            self._send(dict(half), results)

    def _post(self, events: Sequence[Event]) -> Answer:
        body = json.dumps(events, ensure_ascii=False).encode("utf-8", "surrogatepass")
        deadline = time.monotonic() + self._patience
        while True:
            answer = self._api.call("POST", f"{PREFIX}/events", body)
            pause = answer.retry_after or _PAUSE
            if answer.status != http.client.SERVICE_UNAVAILABLE:
                return answer
            if time.monotonic() + pause > deadline:
                raise SiteError(f"nothing was accepted: {answer.problem()}; see: canopsis status")
            threading.Event().wait(pause)


def _refused(answer: Answer, indexes: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Return why, and for which field, by index; all of ``indexes`` when the answer does not tell them apart."""
    try:
        errors = json.loads(answer.content).get("errors")
        told = {indexes[e["index"]]: (str(e["detail"]), str(e.get("field", ""))) for e in errors or ()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        told = {}
    return told or dict.fromkeys(indexes, (answer.problem(), ""))
