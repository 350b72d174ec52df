"""Webhook: HTTP POST of what happened, as JSON or as the template of the rule says."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from canopsis import __version__
from canopsis.core.rules.notification import Message
from canopsis.errors import DeliveryError, InputError, bounded
from canopsis.notifiers.deadline import ended_after
from canopsis.notifiers.notifier import (
    Notifier,
    Receipt,
    Settings,
    host_of,
    secret,
    secret_url,
    setting,
    tls_context,
)

MOST_SHOWN = 400
"""Characters of an answer that a receipt keeps."""

_AGAIN = frozenset({408, 425, 429})
"""Refusals of 4xx that are of the moment, not of the message."""

_LONGEST_WAIT = 3600.0
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4000}")
_OURS = frozenset({"content-length", "transfer-encoding", "host", "connection"})


class WebhookSettings(Settings, frozen=True):
    """Where it goes, and how."""

    url: Annotated[str, secret_url("Where it is posted: http:// or https://.")]
    headers: Annotated[dict[str, str], secret("Headers beside our own, such as Authorization.")] = msgspec.field(
        default_factory=dict
    )
    timeout: Annotated[float, setting("Seconds that all of it may take.", ge=0.1, le=30)] = 10.0
    verify: Annotated[bool, setting("Whether the certificate of https:// must be one that is trusted.")] = True
    ca_file: Annotated[str, setting("Certificates that are trusted, on the hosts of engines; empty: the host's.")] = ""

    def check(self) -> None:
        """Raise InputError for what the types do not tell."""
        allowed = "http:// or https:// with a host, without a user in it (a header Authorization says who we are)"
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise InputError("url", "", allowed) from None
        if not good or "@" in parts.netloc or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise InputError("url", "", allowed)
        for name, value in self.headers.items():
            if not _NAME.fullmatch(name) or name.lower() in _OURS or not _VALUE.fullmatch(value):
                raise InputError(f"headers.{name}", "", f"names and values of HTTP, none of {', '.join(sorted(_OURS))}")


def deliver(message: Message, settings: WebhookSettings) -> Receipt:
    """Post ``message``. Raises DeliveryError."""
    return post(settings, message.id, body_of(message))


def post(settings: WebhookSettings, message_id: str, body: bytes) -> Receipt:
    """Post ``body``, JSON unless the headers of ``settings`` say otherwise. Raises DeliveryError."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"canopsis/{__version__}",
        "Idempotency-Key": message_id,
    }
    given = {name.lower() for name in settings.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | settings.headers
    parts = urlsplit(settings.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(settings)
    with _failures(host_of(settings.url), settings.timeout), closing(connection):
        connection.connect()
        sock = connection.sock
        with ended_after(settings.timeout, lambda: sock):
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            said = response.read(4 * MOST_SHOWN).decode("utf-8", "replace")
    return _judged(response, bounded(said.strip(), MOST_SHOWN))


def body_of(message: Message) -> bytes:
    """Return what is posted: what the template of the rule made, or the alert with what the message is about."""
    if message.body is not None:
        return message.body.encode()
    own = {"notification_id": message.id, "rule": message.rule, "subject": message.subject}
    return msgspec.json.encode({**own, "happened": message.happened, **message.alert})


def _connection(settings: WebhookSettings) -> http.client.HTTPConnection:
    parts = urlsplit(settings.url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=settings.timeout)
    context = tls_context(settings.ca_file, settings.verify)
    return http.client.HTTPSConnection(host, parts.port, timeout=settings.timeout, context=context)


def _judged(response: http.client.HTTPResponse, said: str) -> Receipt:
    """Return the receipt of an answer. Raises DeliveryError."""
    status = response.status
    receipt = f"{status} {response.reason}{': ' if said else ''}{said}"
    if 200 <= status < 300:
        return receipt
    if 300 <= status < 400:
        raise DeliveryError(f"{receipt} (another address is meant: put it into url)", again=False)
    given = response.headers.get("Retry-After", "")
    after = min(float(given), _LONGEST_WAIT) if given.isdecimal() else 0.0
    raise DeliveryError(receipt, again=status >= 500 or status in _AGAIN, after=after)


@contextmanager
def _failures(host: str, timeout: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise DeliveryError(f"{host} gave no answer in {timeout:g} s", again=True) from None
    except (OSError, http.client.HTTPException) as error:
        # The text of an exception may hold the address, and that a token.
        why = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
        raise DeliveryError(f"{host}: {why}", again=True) from None


NOTIFIER = Notifier("webhook", "HTTP POST of JSON, or of what a template makes.", WebhookSettings, deliver)
