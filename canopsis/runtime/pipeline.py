"""The engines of one process, one after the other in memory: messages in, everything that follows out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from canopsis.core.envelope import Envelope
from canopsis.core.event import Event
from canopsis.errors import CanopsisError, StoreError, reason_of
from canopsis.runtime import bysource
from canopsis.runtime.contract import (
    Batch,
    Context,
    Dead,
    Drop,
    Effects,
    Engine,
    Message,
    Outgoing,
    Raw,
    encode,
)
from canopsis.runtime.counters import Tally
from canopsis.runtime.manifest import Input
from canopsis.runtime.settings import ChainSettings
from canopsis.store.operations import Writes
from canopsis.store.rule_counts import merge
from canopsis.store.rules import Counts
from canopsis.transport.codec import pack
from canopsis.transport.topology import queue_name

_LOG = logging.getLogger(__name__)

Unit = Event | Raw
"""The least that can be a dead letter of its own."""


@dataclass(frozen=True, slots=True)
class Stage:
    """An engine at its place: who gets what it lets through, in this process or by a queue.

    ``moves`` tells whether what it moves goes to its own queues; without them it goes on like the rest.
    """

    engine: Engine
    input: Input
    local: tuple[str, ...] = ()
    remote: tuple[str, ...] = ()
    moves: bool = False

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name


@dataclass(slots=True)
class Outcome:
    """All that follows from one batch: to be written, then published, then acknowledged.

    ``hops`` are events for engines of other processes, by engine; ``dead`` and ``drop`` are by
    the engine that said so.
    """

    write: Writes = field(default_factory=dict)
    publish: list[Outgoing] = field(default_factory=list)
    hops: dict[str, list[Event]] = field(default_factory=dict)
    dead: list[tuple[str, Dead]] = field(default_factory=list)
    drop: list[tuple[str, Drop]] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=dict)
    counts: bysource.Counts = field(default_factory=dict)
    rules: Counts = field(default_factory=dict)
    envelope: Envelope = field(default_factory=Envelope)


class Pipeline:
    """The engines of one process. For one thread."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self._inputs = {stage.name: stage.input for stage in stages}

    def run(self, batches: Mapping[str, Batch], ctx: Context) -> Outcome:
        """Hand each batch to the engine it is for, and on from engine to engine.

        An event that makes an engine raise becomes a dead letter, the others go on. Raises
        StoreError when an engine could not read: nothing is remembered then, run again.
        """
        waiting = {name: Batch(list(batch.events), list(batch.raw)) for name, batch in batches.items()}
        outcome = Outcome()
        for batch in batches.values():
            outcome.envelope.add(batch.envelope)
        try:
            for stage in self.stages:
                came = waiting.pop(stage.name, None)
                if came is not None and (came.events or came.raw):
                    effects = self._process(stage, replace(came, envelope=outcome.envelope), ctx, outcome)
                    self._hand_on(stage, effects, waiting, outcome)
        except StoreError:
            self.forget(None)
            raise
        return outcome

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Have every engine forget ``partitions`` (None: all)."""
        for stage in self.stages:
            stage.engine.forget(partitions)

    def _process(self, stage: Stage, batch: Batch, ctx: Context, outcome: Outcome) -> Effects:
        began = time.perf_counter()
        effects = _without_poison(stage, batch, ctx)
        if effects.move and not stage.moves:
            effects.forward += effects.move
            effects.move = []
        tally = Tally(
            len(effects.forward) + len(effects.drop) + len(effects.dead),
            len(effects.forward),
            len(effects.drop),
            len(effects.dead),
            time.perf_counter() - began,
        )
        outcome.tallies.setdefault(stage.name, Tally()).add(tally)
        return effects

    def _hand_on(self, stage: Stage, effects: Effects, waiting: dict[str, Batch], outcome: Outcome) -> None:
        for collection, operations in effects.write.items():
            outcome.write.setdefault(collection, []).extend(operations)
        outcome.publish += effects.publish
        outcome.dead += [(stage.name, dead) for dead in effects.dead]
        outcome.drop += [(stage.name, drop) for drop in effects.drop]
        bysource.add(outcome.counts, effects.counts)
        merge(outcome.rules, effects.rules)
        if effects.move:
            outcome.hops.setdefault(stage.name, []).extend(effects.move)
        outcome.envelope.add(effects.envelope)
        if not effects.forward:
            return
        for name in stage.local:
            there = waiting.get(name) or Batch()
            if self._inputs[name] == "events":
                waiting[name] = Batch([*there.events, *effects.forward] if there.events else effects.forward)
            else:
                waiting[name] = Batch((), [*there.raw, *as_messages(name, effects.forward)])
        for name in stage.remote:
            outcome.hops.setdefault(name, []).extend(effects.forward)


def stages_of(
    chain: ChainSettings, process: str, engines: Mapping[str, tuple[Engine, Input]], entries: Collection[str] = ()
) -> list[Stage]:
    """Return the stages of ``process``: ``engines`` are its own and what each takes, ``entries`` those with queues."""
    stages = []
    for settings in chain.of_process(process):
        engine, takes = engines[settings.name]
        local = tuple(name for name in settings.next if name in engines)
        remote = tuple(name for name in settings.next if name not in engines)
        stages.append(Stage(engine, takes, local, remote, settings.name in entries))
    return stages


def as_messages(name: str, events: Sequence[Event]) -> list[Message]:
    """Return ``events`` as messages for the engine ``name``, whose input is raw."""
    return [Message(body, routing_key=queue_name(name)) for body in pack(map(encode, events))]


def _without_poison(stage: Stage, batch: Batch, ctx: Context) -> Effects:
    """Process ``batch``; whatever makes the engine raise is taken out and becomes a dead letter."""
    answer = _attempt(stage, batch, ctx)
    if isinstance(answer, Effects):
        return answer
    units: list[Unit] = [*batch.events, *batch.raw]
    dead: list[Dead] = []
    trial = partial(_trial, stage, batch.envelope, ctx)
    while not isinstance(answer, Effects):
        place = _first_poison(trial, units)
        error = trial(units[: place + 1])
        reason = error if isinstance(error, Exception) else answer
        _LOG.error("%s failed on one event, now a dead letter: %s", stage.name, reason_of(reason), exc_info=reason)
        dead.append(_dead_unit(stage, units.pop(place), reason))
        answer = trial(units)
    answer.dead += dead
    answer.incoming += len(dead)
    return answer


def _first_poison(trial: Callable[[Sequence[Unit]], Effects | Exception], units: Sequence[Unit]) -> int:
    """Return the place of the last unit of the shortest beginning of ``units`` that fails."""
    good, bad = 0, 1
    while bad < len(units) and isinstance(trial(units[:bad]), Effects):
        good, bad = bad, min(2 * bad, len(units))
    while bad - good > 1:
        middle = (good + bad) // 2
        if isinstance(trial(units[:middle]), Effects):
            good = middle
        else:
            bad = middle
    return bad - 1


def _trial(stage: Stage, envelope: Envelope, ctx: Context, units: Sequence[Unit]) -> Effects | Exception:
    """Process ``units`` from a clean memory."""
    stage.engine.forget(None)
    if not units:
        return Effects()
    batch = Batch(raw=units) if stage.input == "raw" else Batch(events=units, envelope=envelope)  # type: ignore[arg-type]
    return _attempt(stage, batch, ctx)


def _attempt(stage: Stage, batch: Batch, ctx: Context) -> Effects | Exception:
    try:
        effects = stage.engine.process(batch, ctx)
        _check_balance(stage, batch, effects)
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug of one engine on one event must not stop the chain
        return error
    return effects


def _check_balance(stage: Stage, batch: Batch, effects: Effects) -> None:
    out = len(effects.forward) + len(effects.move) + len(effects.drop) + len(effects.dead)
    incoming = effects.incoming if stage.input == "raw" else len(batch.events)
    if out != incoming:
        raise CanopsisError(f"{stage.name} took {incoming} events and answers for {out}")


def _dead_unit(stage: Stage, unit: Unit, error: Exception) -> Dead:
    reason = f"{stage.name} failed: {reason_of(error)}"
    if isinstance(unit, Event):
        return Dead(encode(unit), reason, key=unit.event_id)
    return Dead.of(unit, reason)
