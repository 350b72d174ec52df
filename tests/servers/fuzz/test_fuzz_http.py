"""Hostile requests to the web server: each has a whole answer, and what was accepted is stored.

``CANOPSIS_TEST_HOSTILE`` says how many, ``CANOPSIS_TEST_SEED`` which ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from conftest import Site
from hostile_requests import Request, Requests
from share import BLOCK, FIRST, PATIENCE, SEED, TOLD, TOTAL
from watching import FLAT, Watch
from web import key_of
from wire_http import Answer, NoAnswerError, ask

from canopsis.ops import wait

CLIENTS = 4
"""Requests at once: fewer than what one user may have, for who has too many hears 503."""


@dataclass
class Account:
    """What came of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    """Ids of the events that were accepted since they were last looked for."""
    known: set[str] = field(default_factory=set)
    """Ids of all events that were accepted and are stored."""
    wrong: list[str] = field(default_factory=list)

    def add(self, request: Request, answer: Answer) -> None:
        """Take note of an answer."""
        self.statuses[answer.status] += 1
        self.kinds[request.kind] += 1
        accepted = ids_in(answer)
        self.accepted.update(accepted)
        problem = fault(request, answer, accepted)
        if problem:
            self.wrong.append(f"request {request.number} ({request.kind}): {problem}")


def ids_in(answer: Answer) -> list[str]:
    """Return the ids of the events that an answer says are accepted."""
    if answer.status not in (202, 207):
        return []
    return [each["event_id"] for each in answer.json["data"] if each.get("status", "accepted") == "accepted"]


def fault(request: Request, answer: Answer, accepted: list[str]) -> str:
    """Return what is wrong with an answer, or an empty text."""
    if not answer.status:
        return "closed without an answer" if request.has_head else ""
    if answer.status >= 500:
        return f"{answer.status} {answer.data[:300]!r}"
    if answer.status >= 400 and not request.is_head:
        if answer.headers.get("content-type") != "application/problem+json":
            return f"{answer.status} is no problem document: {answer.data[:300]!r}"
        if answer.json["status"] != answer.status:
            return f"{answer.status} says that it is {answer.json['status']}"
    missing = set(request.taken or ()) - set(accepted)
    return f"good events are not accepted: {sorted(missing)[:5]}, {answer.data[:300]!r}" if missing else ""


def test_every_request_is_answered(site: Site, watch: Watch, progress: Callable[[str], None]) -> None:
    before, account, requests = site.pids(), Account(), Requests(SEED, key_of("operator"))
    watch.sample(0)
    with ThreadPoolExecutor(CLIENTS) as clients:
        for begin in range(0, TOTAL, BLOCK):
            block = range(begin, min(begin + BLOCK, TOTAL))
            for request, answer in clients.map(lambda number: answered(site, requests.make(FIRST + number)), block):
                account.add(request, answer)
            await_stored(site, account)
            watch.sample(block.stop)
            if (begin + BLOCK) % TOLD == 0:
                progress(f"http: {block.stop} of {TOTAL} requests, {watch.seconds:.0f} s, {len(account.wrong)} wrong")
            assert site.pids() == before
    tell(site, account, watch, progress)
    assert account.wrong == []
    assert site.others(account.known) == set(), "events are stored that nobody was told of"
    assert site.letters() == 0, "events were accepted that the engines refuse"
    assert {name: watch.growth(name) for name in before if watch.growth(name) > FLAT} == {}


def answered(site: Site, request: Request) -> tuple[Request, Answer]:
    """Send a request; a broken answer fails the test."""
    try:
        return request, ask(site.web.port, request)
    except (NoAnswerError, OSError) as error:
        raise AssertionError(f"request {request.number} ({request.kind}) of seed {SEED}: {error!r}") from error


def await_stored(site: Site, account: Account) -> None:
    """Wait until every event that was accepted is stored."""
    ids = sorted(account.accepted)
    wait.until(lambda: len(site.have(ids)) == len(ids) or not site.pids(), PATIENCE)
    missing = account.accepted - site.have(ids)
    assert not missing, f"accepted, and not stored: {sorted(missing)[:10]}"
    account.known |= account.accepted
    account.accepted.clear()


def tell(site: Site, account: Account, watch: Watch, progress: Callable[[str], None]) -> None:
    """Say what became of all requests, and of the memory of all processes."""
    statuses = {status or "closed": count for status, count in sorted(account.statuses.items())}
    progress(f"http: {TOTAL} requests of seed {SEED} in {watch.seconds:.0f} s: {statuses}")
    progress(f"http: {len(account.known)} events accepted, {site.stored()} stored; {dict(account.kinds)}")
    for line in watch.table():
        progress(line)
