"""Mail to a real SMTP server: what arrives, how it is encrypted, and what is worth another attempt."""

from __future__ import annotations

import email
import ssl
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from servers import free_port

from canopsis.core.rules.notification import Message
from canopsis.errors import DeliveryError, InputError
from canopsis.notifiers.mail import NOTIFIER, deliver

ALERT = {"alarm_id": "a1", "component": "web", "output": "no answer: é", "tags": ["x", "y"]}


class Box:
    """What a mail server does with what comes: ``said`` is what it answers to a receiver, or to ``DATA``."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.said: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802 - the server's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, to: str, _options: Any
    ) -> str:
        if to in self.said:
            return self.said[to]
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "DATA" in self.said:
            return self.said["DATA"]
        assert isinstance(envelope.content, bytes)
        found = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        return "250 queued as 42"


Start = Callable[..., int]


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def start(box: Box) -> Iterator[Start]:
    """Start a mail server; returns its port."""
    running: list[Controller] = []

    def started(**facts: Any) -> int:
        running.append(Controller(box, hostname="127.0.0.1", port=free_port(), **facts))
        running[-1].start()
        return int(running[-1].port)

    yield started
    for each in running:
        each.stop()


@pytest.fixture
def tls(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def send(port: int, **settings: Any) -> str:
    own = {"host": "localhost", "port": port, "sender": "canopsis@example.org", "to": ["ops@example.org"]}
    read = NOTIFIER.read(own | {"security": "none", "timeout": 5} | settings)
    return deliver(Message("n1", "ops", ("opened",), "[critical] wéb", None, ALERT), read)  # type: ignore[arg-type]


def failure(port: int, **settings: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as failed:
        send(port, **settings)
    return failed.value


def test_what_arrives(start: Start, box: Box) -> None:
    assert send(start(), to=["ops@example.org", "ann@example.org"]) == "250 queued as 42"
    (mail,) = box.mails
    assert (mail["Subject"], mail["To"]) == ("[critical] wéb", "ops@example.org, ann@example.org")
    assert (mail["Message-ID"], mail["References"]) == ("<n1@canopsis.invalid>", "<a1@canopsis.invalid>")
    assert mail.get_content().splitlines() == [
        "[critical] wéb",
        "",
        "no answer: é",
        "",
        "component: web",
        "tags: x, y",
        "happened: opened",
    ]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_is_encrypted_and_logged_in(
    start: Start, tls: ssl.SSLContext, certificate: tuple[str, str], security: str
) -> None:
    def login(_server: object, _session: object, _envelope: object, _mechanism: str, data: LoginPassword) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    own = {"ssl_context": tls, "auth_require_tls": False} if security == "tls" else {"tls_context": tls}
    port = start(authenticator=login, **own)
    given = {"security": security, "user": "ops", "password": "right", "ca_file": certificate[0]}
    assert send(port, **given) == "250 queued as 42"
    refused = failure(port, **given | {"password": "s3cret"})
    assert (str(refused), refused.again) == (f"localhost:{port} refuses the user: 535", True)
    assert "CERTIFICATE_VERIFY_FAILED" in str(failure(port, **given | {"ca_file": ""}))
    assert send(port, **given | {"ca_file": "", "verify": False}) == "250 queued as 42"


def test_nothing_goes_in_the_clear_that_was_to_be_encrypted(start: Start, box: Box) -> None:
    error = failure(start(), security="starttls")
    assert ("STARTTLS extension not supported" in str(error), error.again, box.mails) == (True, False, [])
    with pytest.raises(InputError, match="could be read on its way"):
        send(1, user="ops", password="x")


@pytest.mark.parametrize(
    ("said", "again", "why"),
    [
        ({"ops@example.org": "550 unknown"}, False, "every receiver is refused: 550 unknown"),
        ({"ops@example.org": "450 later"}, True, "every receiver is refused: 450 later"),
        ({"DATA": "552 too much"}, False, "the message is refused: 552 too much"),
        ({"DATA": "451 later"}, True, "the message is refused: 451 later"),
    ],
)
def test_the_answer_says_whether_to_try_again(
    start: Start, box: Box, said: dict[str, str], again: bool, why: str
) -> None:
    box.said = said
    error = failure(start())
    assert (error.again, str(error)) == (again, why)


def test_some_receivers_are_better_than_none(start: Start, box: Box) -> None:
    box.said = {"gone@example.org": "550 unknown"}
    receipt = send(start(), to=["ops@example.org", "gone@example.org"])
    assert receipt == "250 queued as 42 (not for gone@example.org: 550 unknown)"


def test_nobody_there() -> None:
    port = free_port()
    error = failure(port)
    assert (str(error), error.again) == (f"localhost:{port}: Connection refused", True)
