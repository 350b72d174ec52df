"""What the event log is put into shape by: small segments become larger ones, events of the former log move into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from canopsis.runtime.contract import Context, Dead, Effects
from canopsis.store import event_log, former_log, metrics, segments
from canopsis.store.event_log import HOURLY, MERGED, PROGRESS, Progress
from canopsis.store.operations import Delete, Document, Merge, Operation

QUIET_SECONDS = 600
"""Segments of an hour are merged when it is over for so long."""

SEGMENTS_AT_ONCE = 200
MOST_PACKED = 256 << 10
"""Compressed bytes of a segment that others are added to."""

MOVED_AT_ONCE = 1000


def merge(now: float, ctx: Context) -> Effects:
    """Return the writes that make larger segments of small ones, a part of the hours that are over at a time.

    Values that are in hourly documents are left out. Raises StoreError.
    """
    before = segments.position((now - QUIET_SECONDS) // segments.HOUR * segments.HOUR)
    done = ctx.ask(event_log.progress, MERGED).segment
    found = ctx.ask(event_log.whole_behind, done, before, SEGMENTS_AT_ONCE)
    if not found:
        return Effects()
    hourly = ctx.ask(event_log.progress, HOURLY).segment
    merges: list[Operation] = [
        Merge(tuple(part["_id"] for part in run), segments.merged(run, values=run[-1]["_id"] > hourly))
        for run in _runs(found)
        if len(run) > 1
    ]
    reached = event_log.note(MERGED, Progress(found[-1]["_id"]))
    return Effects(write={event_log.COLLECTION: merges, PROGRESS: [reached]}, more=len(found) == SEGMENTS_AT_ONCE)


def _runs(found: Sequence[Document]) -> Iterator[list[Document]]:
    """Yield segments that become one: neighbours, of one hour, together no larger than a segment may be."""
    run: list[Document] = []
    for segment in found:
        if run and not _fits(run, segment):
            yield run
            run = []
        run.append(segment)
    yield run


def _fits(run: Sequence[Document], more: Document) -> bool:
    hours = {int(segments.received_at(part["_id"]) // segments.HOUR) for part in (run[0], more)}
    count = sum(part["n"] for part in run) + more["n"]
    size = sum(len(part["z"]) for part in run) + len(more["z"])
    return len(hours) == 1 and count <= segments.MOST_EVENTS and size <= MOST_PACKED


def move(ctx: Context) -> Effects:
    """Return the writes that move a part of what an earlier release stored into the log. Raises StoreError."""
    effects = Effects()
    raw = ctx.ask(former_log.raw_metrics, MOVED_AT_ONCE)
    if raw:
        readable = [each for each in raw if former_log.is_readable(each)]
        effects.dead += [_dead(each, "no hour can be made of it") for each in raw if each not in readable]
        hourly = [write for each in readable for write in _hours_of(each)]
        effects.write |= {metrics.HOURLY: hourly, former_log.METRICS: [Delete(each["_id"]) for each in raw]}
    documents = ctx.ask(former_log.newest_events, MOVED_AT_ONCE)
    if documents:
        _move_events(documents, effects, ctx)
    effects.more = bool(raw or documents)
    return effects


def _hours_of(document: Mapping[str, Any]) -> list[Operation]:
    key = document["_id"]
    return metrics.hourly(key["e"], {metric: [(key["t"], value)] for metric, value in document["v"].items()})


def _dead(document: Mapping[str, Any], why: str) -> Dead:
    reason = f"this document of an earlier release cannot be read: {why}"
    return Dead(repr(document).encode("utf-8", "backslashreplace"), reason, key=repr(document["_id"]))


def _move_events(documents: Sequence[Document], effects: Effects, ctx: Context) -> None:
    known = ctx.ask(event_log.contents, [(each["_id"], each.get("timestamp", 0.0)) for each in documents])
    new = [each for each in documents if each["_id"] not in known]
    read, unreadable = former_log.read(new)
    effects.write[event_log.COLLECTION] = [*former_log.inserts(read)]
    effects.write[former_log.EVENTS] = [Delete(each["_id"]) for each in documents]
    effects.dead += [_dead(each, why) for each, why in unreadable]
