"""A stamp is believed only of a broker that writes over a forged one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from canopsis.errors import TransportError
from canopsis.transport import stamps
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.wire import STAMP


class Link:
    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("version", "headers", "expected"),
    [
        ((3, 12, 0), {STAMP: 1_700_000_000_000}, True),
        ((4, 0, 5), {STAMP: 1}, False),
        ((4, 0, 5), {}, False),
        ((3, 11, 9), {STAMP: 1_700_000_000_000}, False),
    ],
)
def test_a2_the_broker_is_asked(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], headers: Mapping[str, object], expected: bool
) -> None:
    monkeypatch.setattr(stamps, "connect", lambda *_: Link())
    monkeypatch.setattr(stamps, "echo", lambda _link: headers)
    assert stamps.stamps(version, AmqpSettings()) is expected


def test_a2_a_broker_that_does_not_answer_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise TransportError("away")

    monkeypatch.setattr(stamps, "connect", away)
    assert stamps.stamps((4, 0, 5), AmqpSettings()) is False
