"""What is wrong with a site, worked out of what its servers, queues and engine processes say of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["starting", "degraded", "down"]
"""``down``: no event is accepted, or none is worked off. ``starting``: time alone is needed."""

SILENT_AFTER = 10.0
"""Seconds without a word after which the other instances, and so we, take an instance for dead."""

STARTING_FOR = 30.0
"""Seconds that a process may need until it reads its queues."""

RESTARTS, RESTARTS_WITHIN = 3, 300.0
"""A process that starts so often within so many seconds, with no orderly end between, keeps dying."""

UNREAD_FOR = 20.0
"""RabbitMQ says of a queue whose leader is busy that it is empty and unread: once or twice is no proof."""

BACKLOG, BACKLOG_FOR = 1000, 60.0
"""So many messages that have not become fewer for so many seconds are a backlog."""

LETTERS, LETTERS_WITHIN = 10, 300.0
"""So many dead letters within so many seconds are no accident."""

SEVERITIES: Sequence[Severity] = ("down", "degraded", "starting")
"""The worst first."""

_RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: how bad, where, what, and what to do about it."""

    severity: Severity
    where: str
    what: str
    todo: str = ""

    def text(self) -> str:
        """Return it as one line."""
        return f"{self.where}: {self.what}" + (f"; {self.todo}" if self.todo else "")


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the site. ``error``: why it does not answer; ``blocked``: why the broker takes no messages;
    ``missing``: exchanges that the broker shall have and has not; ``away``: those of its hosts that do not answer,
    with the reason.
    """

    name: str
    hosts: tuple[str, ...]
    version: str = ""
    error: str = ""
    blocked: str = ""
    missing: tuple[str, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Process:
    """An engine process that the chain has. ``partitions`` is how many its instances share, 0 for none."""

    name: str
    queues: tuple[str, ...] = ()
    partitions: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue. ``messages`` is None when there is no such queue; ``unread_for`` and ``standing_for`` say for how
    many seconds it was seen without a reader, and not becoming shorter.
    """

    name: str
    messages: int | None
    consumers: int = 0
    unread_for: float = 0.0
    standing_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A running copy of a process that has not said goodbye. ``age`` is seconds since its last word, ``starts``
    are seconds since each of its starts, ``error`` is what ended it the last time, ``beats`` is why those of its
    engines' beats fail that do.
    """

    id: str
    process: str
    host: str
    age: float
    state: str = _RUNNING
    partitions: frozenset[int] = frozenset()
    starts: tuple[float, ...] = ()
    error: str = ""
    ended: bool = False
    beats: Mapping[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether the others count on it."""
        return not self.ended and self.age <= SILENT_AFTER

    @property
    def running(self) -> bool:
        """Whether it works."""
        return self.alive and self.state == _RUNNING

    @property
    def young(self) -> bool:
        """Whether it may still be starting."""
        return self.alive and min(self.starts, default=STARTING_FOR) < STARTING_FOR

    @property
    def restarts(self) -> int:
        """How often it started lately without an orderly end before."""
        return sum(start <= RESTARTS_WITHIN for start in self.starts)


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters of the last ``LETTERS_WITHIN`` seconds, and the reason of the newest."""

    count: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a site. ``instances`` and ``queues`` are None when nobody could be asked.

    ``schema`` is the version of the database and the one this release needs.
    """

    servers: Sequence[Server] = ()
    instances: Sequence[Instance] | None = None
    chain: Sequence[Process] = ()
    queues: Sequence[Queue] | None = None
    schema: tuple[int, int] = (0, 0)
    letters: Letters = Letters()

    def of_process(self, name: str) -> list[Instance]:
        """Return the instances of a process."""
        return [each for each in self.instances or () if each.process == name]


def processes(documents: Mapping[str, Any]) -> tuple[Process, ...]:
    """Return the processes of a chain that is kept as ``{name: {"queues": […], "partitions": N}}``."""
    return tuple(
        Process(name, tuple(found.get("queues", ())), int(found.get("partitions", 0)))
        for name, found in documents.items()
    )


def problems(facts: Facts) -> tuple[Problem, ...]:
    """Return everything that is wrong, the worst first."""
    found = [*_of_servers(facts.servers), *_of_schema(*facts.schema)]
    if facts.instances is not None:
        found += [*_of_processes(facts), *_of_hosts(facts.instances)]
    if facts.queues is not None:
        found += _of_queues(facts)
    found += _of_letters(facts.letters)
    return tuple(sorted(found, key=lambda problem: SEVERITIES.index(problem.severity)))


def refusals(servers: Sequence[Server], entry: Queue | None, idle_for: float, grace: float) -> list[str]:
    """Return why a web server is not ready, in words that anybody may read; nothing when it is.

    ``entry`` is the queue that new events come to (None: not known), ``idle_for`` how many seconds nobody has read it.
    """
    found = [f"{server.name} away" for server in servers if server.error]
    found += [f"{server.name} takes no messages" for server in servers if server.blocked and not server.error]
    found += [f"{server.name} has no exchange {name}" for server in servers for name in server.missing]
    if entry is not None and entry.messages is None:
        found.append("the queue of new events is missing")
    elif entry is not None and idle_for > grace:
        found.append("new events are not read by any process")
    return found


def is_unread(queue: Queue) -> bool:
    """Whether nobody reads a queue. An empty one may only seem so: then it takes a while to be sure."""
    return queue.consumers == 0 and (bool(queue.messages) or queue.unread_for > UNREAD_FOR)


def worst(found: Sequence[Problem]) -> str:
    """Return the state of a site in one word: well, starting, degraded, down."""
    return next((severity for severity in SEVERITIES if any(each.severity == severity for each in found)), "well")


def _of_servers(servers: Sequence[Server]) -> Iterator[Problem]:
    for server in servers:
        where = f"{server.name} ({', '.join(server.hosts)})"
        if server.error:
            todo = f"on its host: service {server.name} status"
            yield Problem("down", where, f"does not answer the web server: {server.error}", todo)
        elif server.blocked:
            todo = "make room there (disk or memory of each broker): events are refused until then"
            yield Problem("down", where, f"takes no messages: {server.blocked}", todo)
        else:
            for host, why in server.away.items():
                todo = f"there: service {server.name} status"
                yield Problem("degraded", f"{server.name} on {host}", f"does not answer: {why}", todo)
        for name in server.missing:
            todo = "the engines make it when they start: service amqp2engines restart"
            yield Problem("down", f"exchange {name}", "does not exist", todo)


def _of_schema(there: int, needed: int) -> Iterator[Problem]:
    if there < needed:
        what = f"has version {there}, this release needs {needed}: engines wait"
        yield Problem("down", "the database", what, "do: canopsis migrate")
    elif there > needed:
        what = f"has version {there}, the web server's release knows {needed}"
        yield Problem("degraded", "the database", what, "install the newer release on every host")


def _of_processes(facts: Facts) -> Iterator[Problem]:
    names = [process.name for process in facts.chain]
    for process in facts.chain:
        living = [each for each in facts.of_process(process.name) if each.alive]
        if not living:
            todo = "see: service amqp2engines status, and var/log/engines/"
            yield Problem("down", f"process {process.name}", "no instance of it is alive", todo)
            continue
        if process.partitions:
            yield from _of_partitions(process, living)
    if not facts.chain and not any(each.alive for each in facts.instances or ()):
        yield Problem("down", "engines", "no engine process is alive", "see: service amqp2engines status")
    others = {each.process for each in facts.instances or ()} - set(names)
    for name in (*names, *sorted(others)):
        yield from _of_instances(facts.of_process(name))


def _of_partitions(process: Process, living: Sequence[Instance]) -> Iterator[Problem]:
    free = sorted(set(range(process.partitions)).difference(*(each.partitions for each in living)))
    if not free:
        return
    numbers = ", ".join(map(str, free))
    severity: Severity = "down" if len(free) == process.partitions else "degraded"
    if any(each.young for each in living):
        yield Problem("starting", f"process {process.name}", f"no process works on partitions {numbers} yet")
        return
    todo = "see: service amqp2engines status, and var/log/engines/"
    yield Problem(severity, f"process {process.name}", f"no process works on partitions {numbers}", todo)


def _of_instances(instances: Sequence[Instance]) -> Iterator[Problem]:
    working = sum(each.running and each.restarts < RESTARTS for each in instances)
    bad: Severity = "degraded" if working else "down"
    for each in instances:
        where, log = each.id.removeprefix("instance:"), f"see var/log/engines/ on {each.host}"
        if each.restarts >= RESTARTS:
            why = f", the last time: {each.error}" if each.error else ""
            what = f"keeps dying: {each.restarts} starts in {RESTARTS_WITHIN / 60:.0f} minutes{why}"
            yield Problem(bad, where, what, log)
        elif each.ended:
            yield Problem(bad, where, f"ended: {each.error}", log)
        elif each.alive and each.state != _RUNNING:
            severity: Severity = "starting" if each.young else bad
            yield Problem(severity, where, each.state, "" if severity == "starting" else log)
        if each.alive:
            for engine, why in each.beats.items():
                yield Problem("degraded", where, f"the beat of {engine} fails: {why}", log)


def _of_hosts(instances: Sequence[Instance]) -> Iterator[Problem]:
    silent: dict[str, list[Instance]] = {}
    for each in instances:
        if not each.alive and not each.ended:
            silent.setdefault(each.host, []).append(each)
    for host, gone in silent.items():
        names = ", ".join(each.id.removeprefix("instance:") for each in gone)
        age = min(each.age for each in gone)
        todo = f"is it up? there: service amqp2engines status; gone for good: canopsis engine forget {host}"
        yield Problem("degraded", f"host {host}", f"{names} said nothing for {age:.0f} s, and no goodbye", todo)


def _of_queues(facts: Facts) -> Iterator[Problem]:
    owners = {queue: process.name for process in facts.chain for queue in process.queues}
    for queue in facts.queues or ():
        readers = [each for each in facts.of_process(owners.get(queue.name, "")) if each.alive]
        if queue.messages is None:
            todo = "the engines make it when they start: service amqp2engines restart"
            yield Problem("down", f"queue {queue.name}", "does not exist: what was meant for it is lost", todo)
        elif readers and is_unread(queue):
            severity: Severity = "starting" if any(each.young for each in readers) else "down"
            what = f"it has no consumer, {queue.messages} messages wait"
            yield Problem(severity, f"queue {queue.name}", what, "see var/log/engines/")
        if (queue.messages or 0) >= BACKLOG and queue.standing_for >= BACKLOG_FOR:
            what = f"{queue.messages} messages wait, not fewer for {queue.standing_for:.0f} s"
            todo = "more instances or hosts for its engines, or fewer events"
            yield Problem("degraded", f"queue {queue.name}", what, todo)


def _of_letters(letters: Letters) -> Iterator[Problem]:
    if letters.count >= LETTERS:
        what = f"{letters.count} in {LETTERS_WITHIN / 60:.0f} minutes, the newest: {letters.reason}"
        yield Problem("degraded", "dead letters", what, "see: canopsis dead-letters list")
