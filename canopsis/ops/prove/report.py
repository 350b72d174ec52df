"""What was found, as a table and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from canopsis.ops.prove.compare import Differences
from canopsis.ops.prove.run import Round

_SHOWN = 5
"""Differences that are told below the line of their round; the others come at the end."""

HEADER = "ROUND  EVENTS  RETRIES  OUTAGE  LOST  DOUBLED  DISORDERED  WRONG  SECONDS  STRIKES"


def row(found: Round) -> str:
    """Return the line of a round under ``HEADER``."""
    line = f"{_row(str(found.number), [found], found.differences)}  {found.strikes}"
    return "\n".join((line, *(f"       {text}" for text in found.differences.texts[:_SHOWN])))


def _row(name: str, rounds: Sequence[Round], found: Differences) -> str:
    events, retries = sum(each.events for each in rounds), sum(each.retries for each in rounds)
    outage, seconds = max((each.outage for each in rounds), default=0.0), sum(each.seconds for each in rounds)
    counts = f"{found.lost:>4}  {found.doubled:>7}  {found.disordered:>10}  {found.wrong:>5}"
    return f"{name:>5}  {events:>6}  {retries:>7}  {outage:>6.1f}  {counts}  {seconds:>7.1f}"


def total(rounds: Sequence[Round], again: Differences) -> str:
    """Return the last line: sums, the longest outage, and what a second look at everything found."""
    return _row("all", rounds, sum((each.differences for each in rounds), Differences()) + again)


def verdict(rounds: Sequence[Round], wrong: Sequence[str]) -> str:
    """Return the verdict with everything that is ``wrong``."""
    events = sum(each.events for each in rounds)
    if wrong:
        return "\n".join(("what is wrong:", *(f"  {text}" for text in wrong)))
    return f"proved: {events} events in {len(rounds)} rounds, none lost, none counted twice, every step in its place"


def facts(rounds: Sequence[Round], again: Differences, wrong: Sequence[str], seed: int) -> dict[str, object]:
    """Return everything as data for a program."""
    return {
        "proved": not wrong,
        "seed": seed,
        "rounds": [asdict(each) for each in rounds],
        "again": asdict(again),
        "wrong": list(wrong),
    }
