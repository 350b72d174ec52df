"""The sender of notifications: takes what is due out of the outbox, and delivers it by the notifiers of the rules.

It has a process of its own: nothing that a receiver or a notifier does holds events up. Each rule has one turn at a
time, in a thread; the beat itself waits for nobody.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated

from canopsis.core.rules.notification import KIND, Telling
from canopsis.errors import CanopsisError, DeliveryError, InputError, RuleFailure, StoreError, bounded
from canopsis.notifiers.notifier import Receipt, notifier_of
from canopsis.runtime.contract import Context, Effects, Engine
from canopsis.runtime.manifest import Manifest, Options, Place, count, seconds
from canopsis.store import notifications
from canopsis.store.live_rules import LiveRules
from canopsis.store.notifications import Claimed

CLAIM_SECONDS = 120.0
"""An attempt is over by then, or who made it is dead."""

TURN_SECONDS = 3.0
"""No delivery begins later in a turn of a rule: the next beat goes on, and a process that ends can end."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0
"""Seconds before a second attempt; twice as long before each further one, up to the longest."""

LONGEST_REST = 60.0
"""Seconds that a rule rests whose receiver is away: what else waits for it is not tried meanwhile."""

_LOG = logging.getLogger(__name__)


class SenderOptions(Options, frozen=True):
    """How much is sent at once, and when one is given up."""

    threads: Annotated[int, count(1, 100, "Rules whose notifications are sent at the same time.")] = 8
    attempts: Annotated[int, count(1, 100, "Attempts before a notification is given up.")] = 12
    give_up: Annotated[
        float, seconds(60, 2.6e6, "A notification that waits for longer is given up when an attempt fails.")
    ] = 86400.0


@dataclass(slots=True)
class _Turn:
    """The deliveries of one rule, one after the other, in a thread. ``telling`` is None for a rule that is gone.

    ``claimed`` is what it has in hand, ``blocked`` are alarms of which an earlier notification waits.
    """

    rule: str
    telling: Telling | None
    options: SenderOptions
    ctx: Context
    claimed: Claimed | None = None
    blocked: set[str] = field(default_factory=set)

    def run(self) -> bool:
        """Deliver what is due; False when the receiver could not take one. Raises StoreError, and what notifiers do."""
        began, now = time.monotonic(), self.ctx.now
        while (passed := time.monotonic() - began) < TURN_SECONDS:
            self.claimed = self.ctx.ask(notifications.claim, self.rule, now + passed, CLAIM_SECONDS, self.blocked)
            if self.claimed is None:
                return True
            try:
                self._attempt(self.claimed)
            except DeliveryError as error:
                self.failed(self.claimed, error, now + time.monotonic() - began)
                if error.again:
                    return False
        return True

    def failed(self, claimed: Claimed, error: DeliveryError, now: float) -> None:
        """Have another attempt made later, or give it up. Raises StoreError."""
        reason, options = bounded(str(error)), self.options
        if error.again and claimed.attempts < options.attempts and now - claimed.queued < options.give_up:
            pause = min(FIRST_PAUSE * 2 ** (claimed.attempts - 1), LONGEST_PAUSE)
            self.ctx.ask(notifications.again, claimed, reason, now + max(pause, error.after))
        else:
            _LOG.warning("the notification %s of the rule %s failed: %s", claimed.id, self.rule, reason)
            self.ctx.ask(notifications.failed, claimed, reason)

    def _attempt(self, claimed: Claimed) -> None:
        if claimed.attempts > self.options.attempts:
            raise DeliveryError("whoever delivers it ends without a word", again=False)
        receipt = self._deliver(claimed)
        if not self.ctx.ask(notifications.sent, claimed, bounded(receipt)):
            _LOG.warning("the notification %s took so long that another attempt was made", claimed.id)

    def _deliver(self, claimed: Claimed) -> Receipt:
        if self.telling is None:
            # It may be newer than what we know of the rules.
            raise DeliveryError(f"there is no rule {self.rule} in force", again=True)
        rule = self.telling.rule
        try:
            message = self.telling.message(claimed.id, claimed.alert)
            notifier = notifier_of(rule.notifier)
            settings = notifier.read(rule.settings)
        except (RuleFailure, InputError) as error:
            raise DeliveryError(str(error), again=False) from None
        return notifier.deliver(message, settings)


class NotificationSender(Engine):
    """Has no events: its beat starts a turn of each rule that has something due and none under way."""

    def __init__(self, options: SenderOptions) -> None:
        self._options = options
        self._pool = ThreadPoolExecutor(options.threads, "notify")
        self._turns: dict[str, tuple[_Turn, Future[bool]]] = {}
        self._rests: dict[str, tuple[int, float]] = {}
        """How often in a row a rule's receiver could not take one, and until when it is left alone."""
        self._rules = LiveRules(KIND)

    def beat(self, now: float, ctx: Context) -> Effects:
        """Start turns. Raises StoreError."""
        for rule in [rule for rule, (_, under_way) in self._turns.items() if under_way.done()]:
            turn, over = self._turns.pop(rule)
            self._rest(rule, now, _is_good(turn, over, now))
        rules = {each.rule.id: each.act for each in self._rules.current(ctx).rules}
        resting = {rule for rule, (_, until) in self._rests.items() if until > now}
        free = self._options.threads - len(self._turns)
        for rule in ctx.ask(notifications.due_rules, now, self._turns.keys() | resting)[: max(free, 0)]:
            turn = _Turn(rule, rules.get(rule), self._options, ctx)
            self._turns[rule] = turn, self._pool.submit(turn.run)
        return Effects()

    def _rest(self, rule: str, now: float, good: bool) -> None:
        """Leave a rule alone whose receiver could not take one, for longer each time."""
        failures, _ = self._rests.pop(rule, (0, 0.0))
        if not good:
            self._rests[rule] = failures + 1, now + min(2.0 ** (failures + 1), LONGEST_REST)


def _is_good(turn: _Turn, over: Future[bool], now: float) -> bool:
    """Tell whether the receiver took all; note what a notifier raised that is no answer. Raises StoreError."""
    error = over.exception()
    if error is None:
        return over.result()
    if isinstance(error, CanopsisError):
        _LOG.warning("the turn of the rule %s ended: %s", turn.rule, error)
    else:
        _LOG.error("the notifier of the rule %s failed", turn.rule, exc_info=error)
    if turn.claimed is not None and not isinstance(error, StoreError):
        # Its text is for the log alone: nobody knows what is in it.
        why = f"the notifier failed with {type(error).__name__}; the log of the process has it"
        turn.failed(turn.claimed, DeliveryError(why, again=True), now)
    return False


MANIFEST = Manifest(
    "notification_sender",
    lambda options, _partitions: NotificationSender(options),
    options=SenderOptions,
    place=Place("sender", next=(), beat_interval=2.0),
    beats=True,
)
