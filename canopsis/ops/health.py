"""What is wrong with a site: its programs on this host, and what the API says of all hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from canopsis.ops.programs import services
from canopsis.ops.services import State

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a site. ``api`` is what ``GET /status`` answered, None when it was not asked or did not answer."""

    programs: Sequence[State]
    api: Facts | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def facts(self) -> dict[str, object]:
        """Return the report as plain data."""
        programs = [asdict(program) for program in self.programs]
        return {"healthy": self.healthy, "problems": self.problems, "programs": programs, "api": self.api}


def of_programs(programs: Sequence[State], wanted: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the programs of this host; ``wanted`` are the services it shall run."""
    for program in programs:
        service = services([program.program])[0]
        if service in wanted and not program.ok:
            why = f" ({program.description})" if program.description else ""
            hint = "" if program.state == "STARTING" else f"; do: service {service} start"
            yield f"{program.program} is {program.state}{why}{hint}"
    there = services(program.program for program in programs)
    for name in wanted:
        if name not in there:
            yield f"{name} has no program file; site.yml writes it"


def of_site(status: Facts, processes: Sequence[str], partitions: int) -> Iterator[str]:
    """Yield what is wrong according to ``GET /status``; ``processes`` are those of the chain."""
    for server in status.get("servers", ()):
        if not server.get("reachable", True):
            hosts = ", ".join(map(str, server.get("hosts", ())))
            yield f"{server['name']} ({hosts}) does not answer the web server: {server.get('error', '')}"
    yield from _of_engines(status.get("engines", ()), processes)
    yield from _of_partitions(status.get("partitions", ()), partitions)
    for queue in status.get("queues", ()):
        if queue.get("exists") is False:
            yield f"queue {queue['name']} does not exist; the engines make it: service amqp2engines status"


def _of_engines(engines: Sequence[Facts], processes: Sequence[str]) -> Iterator[str]:
    alive = {engine["process"] for engine in engines if engine.get("alive")}
    for process in processes:
        if process not in alive:
            yield f"no engine process {process} is alive; see var/log/engines/ and: service amqp2engines status"
    for engine in engines:
        if not engine.get("alive"):
            yield f"{engine['_id']} has said nothing for {float(engine.get('age', 0)):.0f} s"


def _of_partitions(held: Sequence[Facts], partitions: int) -> Iterator[str]:
    by_process: dict[str, set[int]] = {}
    for each in held:
        by_process.setdefault(each["process"], set()).add(each["partition"])
    for process, numbers in by_process.items():
        free = sorted(set(range(partitions)) - numbers)
        if free:
            yield f"nobody works on partitions {', '.join(map(str, free))} of {process}"
