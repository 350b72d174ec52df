"""The chain as configuration: which engines there are, what follows what, what runs where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from canopsis.core.chain import WORKER, Link, faults
from canopsis.errors import ConfigError
from canopsis.runtime.manifest import Registry
from canopsis.store.settings import StoreSettings
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import Queue, Topology, site_topology

FILE = "amqp2engines.conf"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One ``[engine:NAME]`` section. ``beat_interval`` is in seconds; ``options`` are the engine's own."""

    name: str
    process: str = WORKER
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
        """Return all engines of a chain that was checked, each before those that follow it."""
        before: dict[str, list[str]] = {engine.name: [] for engine in self.engines}
        for engine in self.engines:
            for name in engine.next:
                before.setdefault(name, []).append(engine.name)
        order = {name: place for place, name in enumerate(TopologicalSorter(before).static_order())}
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
        fed |= {name for name in own if registry[name].binding}
        if any(name in fed and registry[name].input == "events" for name in own):
            fed |= {name for name in own if registry[name].moves}
        return tuple(name for name in own if name in fed)

    def is_fed(self, name: str, registry: Registry) -> bool:
        """Tell whether the engine ``name`` gets any events: from outside, or from another engine."""
        return registry[name].binding is not None or any(name in engine.next for engine in self.engines)

    def topology(self, registry: Registry) -> Topology:
        """Return the queues of the site."""
        return Topology(tuple(queue for process in self.processes() for queue in self._queues(process, registry)))

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
        entries = [registry[name] for name in self.entries(process, registry)]
        raw = {each.name: each.binding for each in entries if each.input == "raw"}
        return site_topology(raw, [each.name for each in entries if each.input == "events"], self.partitions).queues

    def check(self, registry: Registry, broken: Mapping[str, str] | None = None) -> None:
        """Raise ConfigError with everything that cannot work; ``broken`` are engines that cannot be loaded, and why."""
        found = faults(self.links(), registry, broken)
        if found:
            raise ConfigError("\n".join(f"{FILE}: {each}" for each in found))
        for engine in self.engines:
            registry[engine.name].check(registry[engine.name].read(engine.options))

    def links(self) -> list[Link]:
        """Return the chain as it is checked."""
        return [Link(engine.name, engine.next, engine.process, engine.instances) for engine in self.engines]


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Everything one engine process is told: which it is (``instance`` counts from 1), and the site."""

    process: str
    chain: ChainSettings
    amqp: AmqpSettings
    store: StoreSettings
    instance: int = 1
