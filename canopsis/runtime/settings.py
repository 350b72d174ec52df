"""The chain as configuration: which engines there are, what follows what, what runs where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from canopsis.errors import ConfigError
from canopsis.runtime.contract import Registry
from canopsis.store.settings import StoreSettings
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import RAW_BINDINGS, Queue, Topology, site_topology

FILE = "amqp2engines.conf"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One ``[engine:NAME]`` section. ``beat_interval`` is in seconds; ``options`` are the engine's own."""

    name: str
    process: str = "worker"
    next: tuple[str, ...] = ()
    beat_interval: float = 60.0
    instances: int = 1
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """The chain of a site. ``partitions`` is how many queues the entities are spread over."""

    engines: tuple[EngineSettings, ...]
    partitions: int = 8

    def engine(self, name: str) -> EngineSettings:
        """Return an engine of the chain by name. Raises KeyError."""
        return {engine.name: engine for engine in self.engines}[name]

    def processes(self) -> tuple[str, ...]:
        """Return the names of the processes, in the order of the file."""
        return tuple(dict.fromkeys(engine.process for engine in self.engines))

    def instances(self, process: str) -> int:
        """Return how many instances of ``process`` run on each host."""
        return max(engine.instances for engine in self.engines if engine.process == process)

    def ordered(self) -> tuple[EngineSettings, ...]:
        """Return all engines, each before those that follow it. Raises ConfigError for a cycle."""
        before: dict[str, list[str]] = {engine.name: [] for engine in self.engines}
        for engine in self.engines:
            for name in engine.next:
                before.setdefault(name, []).append(engine.name)
        try:
            order = {name: place for place, name in enumerate(TopologicalSorter(before).static_order())}
        except CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise ConfigError(f"{FILE}: next= makes a circle: {circle}; take one of these steps out") from None
        return tuple(sorted(self.engines, key=lambda engine: order[engine.name]))

    def of_process(self, process: str) -> tuple[EngineSettings, ...]:
        """Return the engines of ``process``, each before those that follow it. Raises ConfigError."""
        return tuple(engine for engine in self.ordered() if engine.process == process)

    def entries(self, process: str, registry: Registry) -> tuple[str, ...]:
        """Return the engines of ``process`` that have queues: fed from outside, or by another process.

        Where events come by partition, so does one that moves events between partitions.
        """
        fed = {name for engine in self.engines if engine.process != process for name in engine.next}
        own = [engine.name for engine in self.of_process(process)]
        fed |= {name for name in own if name in RAW_BINDINGS and registry[name].input == "raw"}
        if any(name in fed and registry[name].input == "events" for name in own):
            fed |= {name for name in own if registry[name].moves}
        return tuple(name for name in own if name in fed)

    def topology(self, registry: Registry) -> Topology:
        """Return the queues of the site."""
        entries = [name for process in self.processes() for name in self.entries(process, registry)]
        raw = [name for name in entries if registry[name].input == "raw"]
        partitioned = [name for name in entries if registry[name].input == "events"]
        return site_topology(raw, partitioned, self.partitions)

    def documents(self, registry: Registry) -> dict[str, dict[str, object]]:
        """Return the processes with their queues, as the database keeps them."""
        names = {process: self._queues(process, registry) for process in self.processes()}
        partitioned = {process: any(queue.partition for queue in queues) for process, queues in names.items()}
        return {
            process: {
                "queues": [queue.name for queue in queues],
                "partitions": self.partitions if partitioned[process] else 0,
            }
            for process, queues in names.items()
        }

    def _queues(self, process: str, registry: Registry) -> tuple[Queue, ...]:
        entries = self.entries(process, registry)
        raw = [name for name in entries if registry[name].input == "raw"]
        return site_topology(raw, [name for name in entries if name not in raw], self.partitions).queues

    def check(self, registry: Registry) -> None:
        """Raise ConfigError naming the section and key of the first thing that cannot work."""
        names = [engine.name for engine in self.engines]
        for engine in self.engines:
            _check_engine(engine, names, registry)
        for process in self.processes():
            counts = {engine.name: engine.instances for engine in self.engines if engine.process == process}
            if len(set(counts.values())) > 1:
                raise ConfigError(
                    f"{FILE}: engines of process {process} differ in instances: {counts}; make them equal"
                )
        self.ordered()


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Everything one engine process is told: which it is (``instance`` counts from 1), and the site."""

    process: str
    chain: ChainSettings
    amqp: AmqpSettings
    store: StoreSettings
    instance: int = 1


def default_chain(partitions: int = 8, beat_interval: float = 60.0) -> ChainSettings:
    """Return the chain of a site that configures nothing: two hops."""
    follows = {
        "collectdgw": ("cleaner", "cleaner_events"),
        "dead_letters": ("cleaner", ""),
        "cleaner_events": ("cleaner", "event_filter"),
        "event_filter": ("worker", "context"),
        "context": ("worker", "alarm"),
        "alarm": ("worker", "perfdata"),
        "perfdata": ("worker", "eventstore"),
        "eventstore": ("worker", ""),
    }
    engines = tuple(
        EngineSettings(name, process, (following,) if following else (), beat_interval)
        for name, (process, following) in follows.items()
    )
    return ChainSettings(engines, partitions)


def _check_engine(engine: EngineSettings, names: list[str], registry: Registry) -> None:
    where = f"{FILE}: [engine:{engine.name}]"
    if engine.name not in registry:
        raise ConfigError(f"{where}: there is no such engine; there are {', '.join(sorted(registry))}")
    if names.count(engine.name) > 1:
        raise ConfigError(f"{where}: stands there twice; take one out")
    for name in engine.next:
        if name not in names:
            raise ConfigError(f"{where} next: {name} has no section; add [engine:{name}] or take it out")
