"""Which engines there are."""

from __future__ import annotations

from canopsis.engines import (
    alarm,
    cleaner_events,
    collectdgw,
    context,
    dead_letters,
    event_filter,
    eventstore,
    perfdata,
)
from canopsis.runtime.contract import EngineKind, Registry

REGISTRY: Registry = {
    cleaner_events.NAME: EngineKind("raw", lambda _options, _partitions: cleaner_events.CleanerEvents()),
    collectdgw.NAME: EngineKind("raw", collectdgw.made_of),
    dead_letters.NAME: EngineKind("raw", lambda _options, _partitions: dead_letters.DeadLetters()),
    event_filter.NAME: EngineKind(
        "events", lambda _options, partitions: event_filter.EventFilter(partitions), moves=True
    ),
    context.NAME: EngineKind("events", lambda _options, partitions: context.ContextEngine(partitions)),
    alarm.NAME: EngineKind("events", alarm.AlarmEngine),
    perfdata.NAME: EngineKind("events", lambda _options, partitions: perfdata.Perfdata(partitions)),
    eventstore.NAME: EngineKind("events", lambda _options, _partitions: eventstore.EventStore()),
}
"""Every engine by name: what it takes, and how it is made of its options and the number of partitions."""
