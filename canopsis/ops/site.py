"""The whole host: its sections one after the other, the services of a section in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from canopsis.errors import CanopsisError, ConfigError
from canopsis.ops import config, daemon, services
from canopsis.ops.daemon import Say
from canopsis.ops.ini import nearest
from canopsis.ops.prefix import Prefix
from canopsis.ops.services import Outcome

Work = Callable[[str], list[Outcome]]
"""Does one thing to one service."""


@dataclass(frozen=True, slots=True)
class Step:
    """Services that are handled in parallel. ``section`` is their section of ``hypcontrol.conf``."""

    section: str
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one service: ``outcomes``, or ``error``."""

    service: str
    outcomes: Sequence[Outcome] = ()
    error: str = ""


def plan(sections: Sequence[tuple[str, Sequence[str]]], known: Sequence[str]) -> list[Step]:
    """Return the steps of a start. Raises ConfigError for a host without services, or with an unknown one."""
    steps = [Step(name, tuple(names)) for name, names in sections if names]
    if not steps:
        raise ConfigError("etc/hypcontrol.conf names no service: this host runs nothing")
    for step in steps:
        for service in step.services:
            if service not in known:
                hint = nearest(service, known, what="services of this host")
                raise ConfigError(
                    f"etc/hypcontrol.conf [{step.section}] services: {service} has no program file; {hint}"
                )
    return steps


def backwards(steps: Sequence[Step]) -> list[Step]:
    """Return the steps of a stop: everything in reverse."""
    return [Step(step.section, tuple(reversed(step.services))) for step in reversed(steps)]


def steps_of_host(prefix: Prefix) -> list[Step]:
    """Return the steps of a start of this host. Raises ConfigError and SiteError."""
    return plan(config.sections_of_host(prefix), services.known(prefix))


def start(prefix: Prefix, say: Say, timeout: float = services.START_TIMEOUT) -> bool:
    """Start the host section by section; return whether all came up. After a failed section nothing more is started."""
    steps = steps_of_host(prefix)
    fresh = daemon.ensure(prefix, say, everything=True)
    work = partial(_start, prefix, say, timeout, fresh)
    return all(_good(step, work, "Starting", say) for step in steps)


def stop(prefix: Prefix, say: Say) -> bool:
    """Stop the host in reverse, then supervisord; return whether all went down. A failure stops nothing else."""
    work = partial(_stop, prefix, say)
    good = [_good(step, work, "Stopping", say) for step in backwards(steps_of_host(prefix))]
    daemon.shutdown(prefix, say)
    return all(good)


def run(step: Step, work: Work) -> Iterator[Result]:
    """Do ``work`` to the services of ``step`` in parallel; yield results in their order."""
    with ThreadPoolExecutor(max_workers=len(step.services)) as pool:
        yield from pool.map(partial(_result, work), step.services)


def _result(work: Work, service: str) -> Result:
    try:
        return Result(service, work(service))
    except CanopsisError as error:
        return Result(service, error=str(error))


def _good(step: Step, work: Work, verb: str, say: Say) -> bool:
    say(f"{verb} {step.section}: {', '.join(step.services)}")
    good = True
    for result in run(step, work):
        for outcome in result.outcomes:
            say(f"  OK  {outcome.text}")
        if result.error:
            say(f"  KO  {result.error}")
            good = False
    return good


def _start(prefix: Prefix, say: Say, timeout: float, fresh: bool, service: str) -> list[Outcome]:
    return services.start(prefix, service, say, timeout, fresh=fresh)


def _stop(prefix: Prefix, say: Say, service: str) -> list[Outcome]:
    return services.stop(prefix, service, say)
