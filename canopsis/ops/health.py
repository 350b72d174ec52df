"""What is wrong with a site: its programs on this host, and what the API says of all hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from canopsis.core.health import Problem, Severity, worst
from canopsis.ops.programs import ENGINES, services
from canopsis.ops.services import State

Facts = Mapping[str, Any]

EXIT_CODES = {"well": 0, "starting": 1, "degraded": 1, "down": 3}
"""2 is wrong usage or configuration, as with every command."""

_UP = ("RUNNING", "STARTING")


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a site. ``api`` is what ``GET /status`` answered, None when it was not asked or did not answer."""

    programs: Sequence[State]
    api: Facts | None = None
    problems: Sequence[Problem] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def state(self) -> str:
        """The state in one word: well, starting, degraded, down."""
        return worst(self.problems)

    @property
    def exit_code(self) -> int:
        """The exit code that says so."""
        return EXIT_CODES[self.state]

    def facts(self) -> dict[str, object]:
        """Return the report as plain data."""
        return {
            "healthy": self.healthy,
            "state": self.state,
            "problems": [problem.text() for problem in self.problems],
            "details": [asdict(problem) for problem in self.problems],
            "programs": [asdict(program) for program in self.programs],
            "api": self.api,
        }


def of_programs(programs: Sequence[State], wanted: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with the programs of this host; ``wanted`` are the services it shall run."""
    bad = [each for each in programs if not each.ok and _service(each) in wanted]
    down = [each for each in bad if each.state not in _UP]
    several = len({_service(each) for each in down}) > 1
    if several:
        names = ", ".join(each.program for each in down)
        why = dict.fromkeys(f"{each.state} ({each.description})" if each.description else each.state for each in down)
        yield Problem("degraded", "this host", f"{names}: {', '.join(why)}", "do: hypcontrol start")
    for each in bad:
        why_not = f"is {each.state}" + (f" ({each.description})" if each.description else "")
        if each.state in _UP:
            yield Problem("starting", each.program, why_not)
        elif not several:
            yield Problem("degraded", each.program, why_not, f"do: service {_service(each)} start")
    there = services(each.program for each in programs)
    for name in wanted:
        if name not in there:
            yield Problem("degraded", name, "has no program file", "site.yml writes it")


def of_site(status: Facts) -> list[Problem]:
    """Return what is wrong according to ``GET /status``."""
    return [
        Problem(_severity(each), str(each.get("where")), str(each.get("what")), str(each.get("todo", "")))
        for each in status.get("problems", ())
    ]


def of_stuck(queues: Sequence[Facts]) -> Iterator[Problem]:
    """Yield which queues hold messages that are neither ready nor under way, as ``rabbitmqctl list_queues`` shows them.

    Their dead-lettering has stopped: they are kept for ever, and so is the queue's log.
    """
    for queue in queues:
        ready, unacknowledged = _number(queue, "messages_ready"), _number(queue, "messages_unacknowledged")
        stuck = _number(queue, "messages") - ready - unacknowledged
        if stuck > 0:
            what = f"{stuck} messages are neither ready nor unacknowledged: its log only grows"
            todo = "restart its leader's broker: service rabbitmq-server restart, one host after the other"
            yield Problem("degraded", f"queue {queue.get('name')}", what, todo)


def programs_in_doubt(programs: Sequence[State], status: Facts | None, host: str) -> list[str]:
    """Return the programs of this host whose log says more: those that are down, and engines that do not work."""
    names = [each.program for each in programs if each.state in ("BACKOFF", "FATAL", "EXITED")]
    if status is None:
        return names
    working = {
        _program(each["process"], int(each.get("n", 1)))
        for each in status.get("engines", ())
        if each.get("host") == host and each.get("alive") and each.get("state") == "running" and not _dies(each)
    }
    return names + [
        each.program for each in programs if each.ok and _service(each) == ENGINES and each.program not in working
    ]


def _dies(instance: Facts) -> bool:
    return bool(instance.get("error"))


def _program(process: str, number: int) -> str:
    return f"engine-{process}" if number == 1 else f"engine-{process}-{number}"


def _service(program: State) -> str:
    return services([program.program])[0]


def _severity(problem: Facts) -> Severity:
    found = problem.get("severity")
    return found if found in ("starting", "down") else "degraded"


def _number(queue: Facts, name: str) -> int:
    found = queue.get(name)
    return found if isinstance(found, int) else 0
