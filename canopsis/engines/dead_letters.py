"""What the broker itself gave up on becomes a dead letter with the broker's reason."""

from __future__ import annotations

from collections.abc import Mapping

from canopsis.runtime.contract import Batch, Context, Dead, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.transport.topology import DEAD

_REASONS = {
    "rejected": "refused by its consumer",
    "expired": "too old",
    "maxlen": "its queue was full",
    "delivery_limit": "delivered too often: processes that take it die or lose the broker",
}


class DeadLetters(Engine):
    """Takes raw messages of ``canopsis.dead``; none goes on."""

    def process(self, batch: Batch, ctx: Context) -> Effects:  # noqa: ARG002 - the contract's
        """Make a dead letter of each message."""
        dead = [Dead.of(raw, reason_of(raw.headers)) for raw in batch.raw]
        return Effects(dead=dead, incoming=len(dead))


def reason_of(headers: Mapping[str, object]) -> str:
    """Return why the broker gave a message up, as its header ``x-death`` says."""
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], Mapping):
        return "the broker gave it up and does not say why"
    latest = deaths[0]
    word = str(latest.get("reason", ""))
    what = _REASONS.get(word, word or "no reason given")
    return f"{latest.get('queue', 'a queue')}: {what} ({latest.get('count', 1)} times)"


MANIFEST = Manifest(
    "dead_letters",
    lambda _options, _partitions: DeadLetters(),
    input="raw",
    binding=(DEAD, "#"),
    place=Place("cleaner", next=()),
)
