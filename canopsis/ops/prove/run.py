"""Rounds: send, strike, wait until the site has caught up, compare; and at the end everything runs again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from random import Random

from canopsis.errors import SiteError
from canopsis.ops.apiclient import Api
from canopsis.ops.prove import bulk, compare, observe, plan, strikes
from canopsis.ops.prove.bulk import Asked
from canopsis.ops.prove.compare import Differences
from canopsis.ops.prove.explain import Delays
from canopsis.ops.prove.plan import Event, Request, Script
from canopsis.ops.prove.sender import Sender, Tally, caller
from canopsis.ops.prove.strikes import Strike, Volley
from canopsis.ops.wait import until

LANES = 4
"""Senders side by side."""

_IN_VAIN = 10.0
"""Seconds that what cannot become right is looked at again: it was read while it changed."""

_REMEMBERED = 300.0
"""Seconds that a site holds deaths against a program: those that it died by us are to be over at the end."""

_SECOND_LOOK = 30.0
"""Seconds that the last comparison of all rounds waits; the site has caught up long before."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much is done. ``events`` are those of a round, ``rate`` is a second; ``freeze`` and ``patience`` are seconds.

    ``name`` is part of every name and id, and unlike that of any other run.
    """

    name: str
    rounds: int = 20
    events: int = 150
    entities: int = 12
    rate: float = 50.0
    freeze: float = 4.0
    patience: float = 180.0
    seed: int = 0
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """The site as it is needed here. ``apis`` makes the ways to it, for one thread each time it is called.

    ``problems`` tells what is wrong with it now. ``delays`` are those after which it resolves alarms.
    """

    apis: Callable[[], Sequence[Api]]
    problems: Callable[[], Sequence[str]]
    delays: Delays = field(default_factory=Delays)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round came to. ``outage`` is the longest time in seconds that a request waited to be accepted."""

    number: int
    strikes: str
    events: int
    retries: int
    outage: float
    seconds: float
    differences: Differences

    @property
    def proved(self) -> bool:
        """Whether all was as it must be."""
        return not self.differences


@dataclass(slots=True)
class _Made:
    """What a round made: its scripts and senders."""

    scripts: list[Script]
    senders: list[Sender]

    def accepted(self) -> Mapping[int, list[Event]]:
        return {script: events for sender in self.senders for script, events in sender.tally.accepted.items()}

    def asked(self) -> list[Asked]:
        return [asked for sender in self.senders for asked in sender.tally.asked]


@dataclass(slots=True)
class _Doubt:
    """Tells when waiting is in vain: what is missing may still come, what should not be there does not go away."""

    index: int = -1
    since: float = 0.0

    def is_certain(self, index: int, found: Differences) -> bool:
        if not found.for_good:
            self.index = -1
        elif index != self.index:
            self.index, self.since = index, time.monotonic()
        return self.index >= 0 and time.monotonic() - self.since >= _IN_VAIN


class Proof:
    """Proves one site. ``say`` gets lines of progress."""

    def __init__(self, site: Site, found: Sequence[Strike], options: Options, say: Callable[[str], None]) -> None:
        self._site = site
        self._strikes = found
        self._options = options
        self._say = say
        self._stop = threading.Event()
        self._made: list[_Made] = []

    def rounds(self) -> Iterator[Round]:
        """Do the rounds, yield what each came to. Raises SiteError when a strike cannot be done."""
        for number in range(self._options.rounds):
            yield self._round(number)

    def again(self) -> Differences:
        """Compare everything that was sent once more: nothing may have come twice, or gone, since."""
        patience = min(_SECOND_LOOK, self._options.patience)
        looks = (self._compare(made, patience) for made in self._made)
        return reduce(add, looks, Differences())

    def end(self) -> list[str]:
        """Take every strike back, close what is open, wait until the site is well; return what is wrong with it."""
        self._stop.set()
        wrong = [text for each in self._strikes for text in _undone(each)]
        if not self._options.keep:
            wrong += [text for made in self._made[-1:] for text in self._close(made)]
        until(lambda: not self._problems(), self._options.patience + _REMEMBERED)
        return [*wrong, *self._problems()]

    def _problems(self) -> Sequence[str]:
        try:
            return self._site.problems()
        except SiteError as error:
            return [str(error)]

    def _close(self, made: _Made) -> Iterator[str]:
        """Close what an interrupted round left open."""
        go_on = threading.Event()
        for sender in made.senders:
            try:
                sender.close(go_on)
            except SiteError as error:
                yield f"alarms are left open: {error}"

    def _round(self, number: int) -> Round:
        options, begin = self._options, time.monotonic()
        rng = Random(f"{options.seed}-{number}")  # noqa: S311 - nothing secret
        scripts = plan.scripts(rng, f"{options.name}-{number}", options.events, options.entities)
        lanes = plan.lanes(rng, f"{options.name}-{number}", scripts, LANES)
        made = _Made(scripts, [self._sender(scripts) for _ in lanes])
        self._made.append(made)
        volleys = strikes.volleys(rng, self._strikes, number, options.freeze) if self._strikes else []
        self._say(f"round {number + 1} of {options.rounds}: {_shown(volleys)}")
        struck, wrong = self._under_fire(made, lanes, volleys)
        wrong = wrong + self._compare(made, options.patience)
        return self._result(number, struck, time.monotonic() - begin, made, wrong)

    def _result(self, number: int, struck: str, seconds: float, made: _Made, wrong: Differences) -> Round:
        tallies = [sender.tally for sender in made.senders]
        wrong = reduce(add, map(_refusals, tallies), wrong)
        sent, retries = sum(each.sent for each in tallies), sum(each.retries for each in tallies)
        return Round(number + 1, struck, sent, retries, max(each.outage for each in tallies), seconds, wrong)

    def _sender(self, scripts: Sequence[Script]) -> Sender:
        return Sender(scripts, caller(self._site.apis()), self._stop, patience=self._options.patience)

    def _under_fire(
        self, made: _Made, lanes: Sequence[Sequence[Request]], volleys: Sequence[Volley]
    ) -> tuple[str, Differences]:
        """Send all while the site is struck; return what was done to it, and what was not accepted in the end."""
        seconds = self._options.events / self._options.rate
        with ThreadPoolExecutor(len(lanes)) as pool, _ending(self._stop):
            work = [pool.submit(self._send, *pair, seconds) for pair in zip(made.senders, lanes, strict=True)]
            struck = ", ".join([text for volley in volleys for text in self._strike(volley)])
            wait(work)
        return struck or "none", reduce(add, map(_unsent, work), Differences())

    def _send(self, sender: Sender, lane: Sequence[Request], seconds: float) -> None:
        sender.send_all(lane, seconds / len(lane))
        if not self._options.keep:
            sender.close(self._stop)

    def _strike(self, volley: Volley) -> Iterator[str]:
        self._stop.wait(volley.after)
        try:
            for each in volley.strikes:
                done = each.begin()
                yield f"{each.name}{f' {volley.lasting:.1f} s' if each.lasts else ''}{'' if done else ' (was down)'}"
            if any(each.lasts for each in volley.strikes):
                self._stop.wait(volley.lasting)
        finally:
            for each in volley.strikes:
                each.end()

    def _compare(self, made: _Made, patience: float) -> Differences:
        """Return what differs once all is as it must be, or after ``patience`` seconds."""
        (api, *_), left, accepted = self._site.apis(), dict(enumerate(made.scripts)), made.accepted()

        doubt = _Doubt()

        def look() -> bool:
            for index, script in list(left.items()):
                found = self._differ(api, script, accepted.get(index, []))
                if found:
                    return doubt.is_certain(index, found)
                del left[index]
            return True

        until(look, patience)
        found = [self._differ(api, script, accepted.get(index, [])) for index, script in left.items()]
        found += [] if left else [bulk.of_task(api.call, asked) for asked in made.asked()]
        return reduce(add, found, Differences())

    def _differ(self, api: Api, script: Script, accepted: Sequence[Event]) -> Differences:
        name, delays = script.entity_id, self._site.delays
        try:
            logged, alarms = observe.log(api, name), observe.alarms(api, name)
        except SiteError as error:
            return Differences(wrong=1, texts=(f"{name} cannot be read: {error}",))
        events = bulk.complete(accepted, logged)
        if any(event["timestamp"] is None for event in events):
            # What comes of an event of the API's is known only with its time.
            return compare.of_log(name, events, logged)
        found = compare.of_entity(name, events, alarms, logged, delays)
        return found + compare.of_snoozes(name, alarms, delays, time.time())


@contextmanager
def _ending(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` when something, Ctrl-C too, ends the block before its end: what runs beside ends with it."""
    with ExitStack() as unless_done:
        unless_done.callback(stop.set)
        yield
        unless_done.pop_all()


def _shown(volleys: Sequence[Volley]) -> str:
    return ", then ".join(" and ".join(each.name for each in volley.strikes) for volley in volleys) or "no strike"


def _undone(strike: Strike) -> Iterator[str]:
    try:
        strike.end()
    except SiteError as error:
        yield str(error)


def _unsent(work: Future[None]) -> Differences:
    try:
        work.result()
    except SiteError as error:
        return Differences(wrong=1, texts=(str(error),))
    return Differences()


def _refusals(tally: Tally) -> Differences:
    return Differences(wrong=len(tally.refused), texts=tuple(tally.refused[:5]))
