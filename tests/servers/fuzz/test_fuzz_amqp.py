"""Hostile messages straight into ``canopsis.events``: each is answered for, and nobody dies or grows of it.

``CANOPSIS_TEST_HOSTILE`` says how many, ``CANOPSIS_TEST_SEED`` which ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from conftest import Site
from hostile import HostilePublisher
from hostile_messages import Message, Messages
from share import BLOCK, FIRST, PATIENCE, SEED, TOLD, TOTAL
from watching import FLAT, Watch

from canopsis.errors import TransportError
from canopsis.ops import wait
from canopsis.transport.connection import Connection, connect
from canopsis.transport.topology import EVENTS


@dataclass
class Sender:
    """Sends messages; those that the broker may refuse one by one, with a new connection after each refusal."""

    site: Site
    refused: int = 0
    _link: Connection | None = None
    _publisher: HostilePublisher | None = None

    def send(self, messages: list[Message]) -> list[Message]:
        """Send messages; return those that the broker confirmed."""
        publisher = self._open()
        for message in messages:
            if not message.refusable:
                publisher.send_raw(EVENTS, message.raw)
        publisher.flush(120)
        return [message for message in messages if not message.refusable or self._is_taken(message)]

    def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.close()

    def _is_taken(self, message: Message) -> bool:
        publisher = self._open()
        try:
            publisher.send_raw(EVENTS, message.raw)
            publisher.flush(60)
        except (TransportError, UnicodeDecodeError):
            # py-amqp cannot read a refusal that quotes what is not UTF-8.
            self.refused += 1
            self.close()
            self._publisher = None
            return False
        return True

    def _open(self) -> HostilePublisher:
        if self._publisher is None:
            self._link = connect(self.site.broker.settings(), "hostile")
            self._publisher = HostilePublisher(self._link)
        return self._publisher


@dataclass
class Account:
    """What was sent, and what it must add up to."""

    events: int = 0
    """Events of messages that cannot pass away."""
    good: Counter[str] = field(default_factory=Counter)
    """How often each event that is good was sent, by its id."""
    passing: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, message: Message) -> None:
        """Take note of a message that the broker confirmed."""
        self.kinds[message.kind] += 1
        if message.passing:
            self.passing.update(message.body.good)
        else:
            self.events += message.body.events
            self.good.update(message.body.good)

    @property
    def repeats(self) -> int:
        """How many good events came again."""
        return self.good.total() - len(self.good)


def test_every_message_is_answered_for(site: Site, watch: Watch, progress: Callable[[str], None]) -> None:
    before, account, sender = site.pids(), Account(), Sender(site)
    messages = Messages(SEED)
    watch.sample(0)
    for begin in range(0, TOTAL, BLOCK):
        block = [messages.make(FIRST + number) for number in range(begin, min(begin + BLOCK, TOTAL))]
        for message in sender.send(block):
            account.add(message)
        await_outcome(site, account, f"messages {FIRST + begin} and {len(block) - 1} more of seed {SEED}")
        watch.sample(begin + len(block))
        if (begin + BLOCK) % TOLD == 0:
            progress(f"amqp: {begin + len(block)} of {TOTAL} messages, {watch.seconds:.0f} s")
        assert site.pids() == before
    sender.close()
    tell(site, account, sender, watch, progress)
    missing = account.good.keys() - site.have(sorted(account.good))
    assert not missing, f"good events that are not stored: {sorted(missing)[:10]}"
    assert {name: watch.growth(name) for name in before if watch.growth(name) > FLAT} == {}


def await_outcome(site: Site, account: Account, which: str) -> None:
    """Wait until every event sent so far is stored, a dead letter, or a repeat of one that is stored."""

    def missing() -> int:
        answered = site.stored() + site.letters()
        # Looked for after: one that is stored in between is missed for a moment, and never counted too early.
        passed = len(site.have(sorted(account.passing - account.good.keys())))
        return account.events - account.repeats + passed - answered

    wait.until(lambda: missing() <= 0 or not site.pids(), PATIENCE)
    assert missing() == 0, f"{which}: so many events are not answered for, or more came of them than was sent"


def tell(site: Site, account: Account, sender: Sender, watch: Watch, progress: Callable[[str], None]) -> None:
    """Say what became of all messages, and of the memory of all processes."""
    progress(f"amqp: {TOTAL} messages of seed {SEED} in {watch.seconds:.0f} s: {dict(account.kinds)}")
    passed = len(account.passing - site.have(sorted(account.passing)))
    stored, letters, repeats = site.stored(), site.letters(), account.repeats
    progress(
        f"amqp: {account.events} events: {stored} stored, {letters} dead letters, {repeats} repeats; "
        f"{sender.refused} messages refused by the broker, {passed} expired"
    )
    for line in watch.table():
        progress(line)
