"""The one tree of exceptions.

::

    CanopsisError
    ├── InputError            what somebody sent or typed is wrong: field, value, allowed
    │   ├── InvalidEvent      an event that no engine can take (HTTP 4xx, or a dead letter)
    │   ├── InvalidPattern    a match pattern that cannot be compiled
    │   └── InvalidRule       a rule that cannot be used: rule, field, value, allowed
    ├── RuleFailure           a rule could not do on an event what it says; the event goes on as the rule says
    ├── DeliveryError         a notification was not delivered: why, and whether trying again makes sense
    ├── ConfigError           a configuration file is wrong: file, section, key, what to do
    ├── TransportError        the broker did not take or give a message (try again)
    ├── StoreError            the database did not answer (try again)
    │   └── Fenced            a guarded write is refused: another instance holds the partition now
    ├── RequestError          an HTTP request is refused for its sender or its target, not for its content
    └── SiteError             a command of the operator's cannot be done: what, why, what next
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping


class CanopsisError(Exception):
    """Root of every error that Canopsis raises itself."""


class InputError(CanopsisError):
    """Input that is refused. ``field`` is a path such as ``perf_data_array[2].value``."""

    def __init__(self, field: str, value: object, allowed: str, text: str = "") -> None:
        self.field = field
        self.value = shorten(value)
        self.allowed = allowed
        super().__init__(text or f"{field}: {self.value} is refused; allowed: {allowed}")


class InvalidEvent(InputError):  # noqa: N818 - the name says what it is
    """An event that no engine can take."""


class InvalidPattern(InputError):  # noqa: N818 - the name says what it is
    """A match pattern that cannot be compiled."""


class InvalidRule(InputError):  # noqa: N818 - the name says what it is
    """A rule that cannot be used. ``rule`` is its id, or where it stands when it has none."""

    def __init__(self, rule: str, field: str, value: object, allowed: str) -> None:
        self.rule = rule
        super().__init__(
            field, value, allowed, f"rule {rule}: {field}: {shorten(value)} is refused; allowed: {allowed}"
        )

    @classmethod
    def of(cls, rule: str, error: InputError) -> InvalidRule:
        """Return ``error`` as one of the rule ``rule``."""
        made = cls(rule, error.field, None, error.allowed)
        made.value = error.value
        made.args = (f"rule {rule}: {error}",)
        return made


class RuleFailure(CanopsisError):  # noqa: N818 - the name says what it is
    """A rule could not do on an event what it says."""


class DeliveryError(CanopsisError):
    """A notification was not delivered. ``again``: whether trying again makes sense, not before ``after`` seconds."""

    def __init__(self, reason: str, *, again: bool, after: float = 0.0) -> None:
        self.again = again
        self.after = after
        super().__init__(reason)


class ConfigError(CanopsisError):
    """A configuration file is wrong; the text names file, section and key."""


class TransportError(CanopsisError):
    """The broker did not take or give a message; the caller tries again."""


class StoreError(CanopsisError):
    """The database did not answer in time; the caller tries again."""


class Fenced(StoreError):  # noqa: N818 - the name says what it is
    """A guarded write is refused: another instance holds the partition now, or what is written is not known."""


class RequestError(CanopsisError):
    """An HTTP request is refused; ``status`` is the answer's, ``members`` and ``headers`` are added to it."""

    def __init__(
        self,
        status: int,
        detail: str,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.members = dict(members or {})
        self.headers = dict(headers or {})
        super().__init__(detail)


class SiteError(CanopsisError):
    """A command cannot be done; the text says what, why and what to do next."""


class _Brief(reprlib.Repr):
    """A repr that no value can break: nesting, length and the digits of integers are bounded."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxstring = self.maxother = limit

    def repr_int(self, x: int, level: int) -> str:
        """Return the digits of ``x``, or how large it is where Python refuses to write them out."""
        return super().repr_int(x, level) if x.bit_length() < 1024 else f"an integer of {x.bit_length()} bits"


def shorten(value: object, limit: int = 80) -> str:
    """Return ``repr(value)`` cut to ``limit`` characters, fit for an error text."""
    text = _Brief(limit).repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def bounded(text: str, limit: int = 500) -> str:
    """Return ``text``; of a long one the beginning and the end, ``limit`` characters in all."""
    if len(text) <= limit:
        return text
    end = limit // 3
    left_out = f" … ({len(text)} characters) … "
    return text[: limit - end - len(left_out)] + left_out + text[-end:]


def reason_of(error: BaseException) -> str:
    """Return what kind of error it is, and why, in at most 500 characters."""
    return bounded(f"{type(error).__name__}: {error}")
