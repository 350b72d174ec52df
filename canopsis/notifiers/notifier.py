"""What a notifier is: one declaration, of which its settings, their checks and its place in lists are made."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec

from canopsis import extensions
from canopsis.core.rules.notification import Message
from canopsis.core.structs import prepare, refusal
from canopsis.errors import DeliveryError, InputError

GROUP = "canopsis.notifiers"
"""The group of entry points under which a site's own package gives its notifiers: ``NAME = module:NOTIFIER``."""

MASK = "********"
"""What stands in the place of a secret wherever settings are shown."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a notifier, each with its meaning by one of the functions below."""

    def check(self) -> None:
        """Raise InputError for what the types do not tell."""


def setting(doc: str, **bounds: Any) -> msgspec.Meta:  # noqa: ANN401 - those of Meta
    """Return the meaning of a setting, and its ``bounds`` (``ge``, ``le``, ``max_length`` …)."""
    return msgspec.Meta(description=doc, **bounds)


def secret(doc: str) -> msgspec.Meta:
    """Return the meaning of a text, or of an object of texts, that is stored and never shown again."""
    return msgspec.Meta(description=doc, extra={"secret": True})


def secret_url(doc: str) -> msgspec.Meta:
    """Return the meaning of an address of which no more than the host is shown again: many hold a token."""
    return msgspec.Meta(description=doc, extra={"secret": True, "url": True})


Receipt = str
"""What the receiver answered, for people to read: ``200 OK`` and what came with it."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """A notifier. ``deliver`` gets a message and settings of the struct ``settings``; threads call it.

    It returns once the receiver has the message, or raises DeliveryError. It may take ``timeout`` seconds of the
    settings, where they have one, and at most a minute: others of the same rule wait for it.
    """

    kind: str
    summary: str
    settings: type[Settings]
    deliver: Callable[[Message, Any], Receipt]

    def __post_init__(self) -> None:
        """Have threads find the struct ready."""
        prepare(self.settings)

    def read(self, given: Mapping[str, Any]) -> Settings:
        """Return the settings ``given``, checked. Raises InputError, which shows no secret."""
        try:
            found = msgspec.convert(given, self.settings)
            found.check()
        except msgspec.ValidationError as error:
            name, value, allowed = refusal(error, given, self.settings)
            raise self._refused(name, value, allowed) from None
        except InputError as error:
            raise self._refused(error.field, error.value, error.allowed) from None
        return found

    def shown(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings ``given`` as anybody may see them."""
        secrets = self._secrets()
        return {name: _masked(value, secrets[name]) if name in secrets else value for name, value in given.items()}

    def restored(self, given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings ``given`` with the secrets that are ``stored`` where they stand as they are shown."""
        shown, secrets = self.shown(stored), self._secrets()
        found = dict(given)
        for name in secrets.keys() & given.keys():
            found[name] = _unmasked(given[name], shown.get(name), stored.get(name), f"settings.{name}")
        return found

    def _refused(self, name: str, value: object, allowed: str) -> InputError:
        hidden = name.partition(".")[0].partition("[")[0] in self._secrets()
        return InputError(f"settings.{name}" if name else "settings", MASK if hidden else value, allowed)

    def _secrets(self) -> dict[str, bool]:
        """Return which settings are secrets, and whether each is an address."""
        hints = get_type_hints(self.settings, include_extras=True)
        extras = {name: _extra_of(hint) for name, hint in hints.items()}
        return {name: "url" in extra for name, extra in extras.items() if extra.get("secret")}


def _extra_of(hint: object) -> Mapping[str, Any]:
    metas = (each for each in get_args(hint) if isinstance(each, msgspec.Meta))
    return {name: value for meta in metas for name, value in (meta.extra or {}).items()}


def _masked(value: object, is_url: bool) -> object:
    if isinstance(value, dict):
        return dict.fromkeys(value, MASK)
    if not value or not isinstance(value, str):
        return value
    parts = urlsplit(value) if is_url else None
    return f"{parts.scheme}://{host_of(value)}/{MASK}" if parts is not None and parts.scheme else MASK


def _unmasked(given: object, shown: object, stored: object, field: str) -> object:
    if isinstance(given, dict):
        before = stored if isinstance(stored, dict) else {}
        masked = dict.fromkeys(before, MASK)
        return {k: _unmasked(v, masked.get(k), before.get(k), f"{field}.{k}") for k, v in given.items()}
    if not isinstance(given, str) or MASK not in given:
        return given
    if given == shown:
        return stored
    raise InputError(field, MASK, "the secret itself: there is none that could be kept")


def host_of(url: str) -> str:
    """Return host and port of an address, without who logs in there."""
    return urlsplit(url).netloc.rpartition("@")[2]


def tls_context(ca_file: str, verify: bool) -> ssl.SSLContext:
    """Return how a receiver is trusted: by the certificates in ``ca_file``, or the host's. Raises DeliveryError."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise DeliveryError(f"ca_file {ca_file} cannot be read: {error.strerror or error}", again=True) from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@cache
def notifiers() -> extensions.Found[Notifier]:
    """Return the notifiers by kind: those of this package, and a site's own."""
    own = {each.kind: each for each in extensions.in_package("canopsis.notifiers", "NOTIFIER", Notifier)}
    return extensions.of_site(GROUP, Notifier, own, "kind")


def notifier_of(kind: str) -> Notifier:
    """Return the notifier ``kind``. Raises InputError."""
    found = notifiers()
    if kind in found.broken:
        raise InputError("notifier", kind, f"one that can be loaded ({found.broken[kind]})")
    if kind not in found.things:
        raise InputError("notifier", kind, ", ".join(sorted(found.things)))
    return found.things[kind]
