"""Mail: a message in plain text by SMTP. The messages of one alarm are one thread."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP as LINES
from email.utils import formatdate
from typing import Annotated, Literal

from msgspec import Meta

from canopsis.core.rules.notification import Message
from canopsis.errors import DeliveryError, InputError, bounded
from canopsis.notifiers.deadline import ended_after
from canopsis.notifiers.notifier import Notifier, Receipt, Settings, secret, setting, tls_context

DOMAIN = "canopsis.invalid"
"""Behind the ``@`` of the ids of our messages, which lead nowhere."""

MOST_RECEIVERS = 50

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_TAKEN = (250, 251)

Said = tuple[int, bytes]


class MailSettings(Settings, frozen=True):
    """The server that takes our mail, who we are to it, and who gets it."""

    host: Annotated[str, setting("The mail server.")]
    sender: Annotated[str, setting("The address that messages come from.")]
    to: Annotated[list[str], Meta(description="Who gets them.", min_length=1, max_length=MOST_RECEIVERS)]
    port: Annotated[int, setting("Its port.", ge=1, le=65535)] = 25
    security: Annotated[
        Literal["starttls", "tls", "none"], setting("Encrypted after a greeting, from the first byte, or not at all.")
    ] = "starttls"
    user: Annotated[str, setting("Who we are to the server; empty: nobody.")] = ""
    password: Annotated[str, secret("The password of the user.")] = ""
    timeout: Annotated[float, setting("Seconds that all of it may take.", ge=0.1, le=30)] = 20.0
    verify: Annotated[bool, setting("Whether the certificate of the server must be one that is trusted.")] = True
    ca_file: Annotated[str, setting("Certificates that are trusted, on the hosts of engines; empty: the host's.")] = ""

    def check(self) -> None:
        """Raise InputError for what the types do not tell."""
        if not _HOST.fullmatch(self.host):
            raise InputError("host", self.host, "a name or an address of a host")
        for name, address in [("sender", self.sender), *((f"to[{at}]", each) for at, each in enumerate(self.to))]:
            if not _ADDRESS.fullmatch(address):
                raise InputError(name, address, "an address such as ops@example.org, without a name beside it")
        if self.user and self.security == "none":
            raise InputError("user", self.user, "none, where security is none: the password could be read on its way")


def deliver(message: Message, settings: MailSettings) -> Receipt:
    """Send ``message``. Raises DeliveryError."""
    where = f"{settings.host}:{settings.port}"
    with (
        _failures(where, settings.timeout),
        _server(settings) as smtp,
        ended_after(settings.timeout, lambda: smtp.sock),
    ):
        if settings.security == "starttls":
            smtp.starttls(context=tls_context(settings.ca_file, settings.verify))
        smtp.ehlo_or_helo_if_needed()
        if settings.user:
            smtp.login(settings.user, settings.password)
        return _send(smtp, settings, letter(message, settings))


def letter(message: Message, settings: MailSettings) -> EmailMessage:
    """Return ``message`` as mail."""
    mail = EmailMessage()
    mail["From"] = settings.sender
    mail["To"] = ", ".join(settings.to)
    mail["Subject"] = message.subject
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message.id}@{DOMAIN}>"
    mail["References"] = f"<{message.alert['alarm_id']}@{DOMAIN}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    return mail


@contextmanager
def _server(settings: MailSettings) -> Iterator[smtplib.SMTP]:
    """Give a connection to the mail server; it is closed without a good-bye, which nobody waits for."""
    where, timeout = (settings.host, settings.port), settings.timeout
    if settings.security == "tls":
        context = tls_context(settings.ca_file, settings.verify)
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=timeout, context=context)
    else:
        smtp = smtplib.SMTP(*where, timeout=timeout)
    try:
        yield smtp
    finally:
        smtp.close()


def _send(smtp: smtplib.SMTP, settings: MailSettings, mail: EmailMessage) -> Receipt:
    """Return what the server says once it has the message for some of its receivers. Raises DeliveryError."""
    _demand(smtp.mail(settings.sender), "the sender")
    answers = {to: smtp.rcpt(to) for to in settings.to}
    refused = {to: said for to, said in answers.items() if said[0] not in _TAKEN}
    if len(refused) == len(answers):
        # One that may be taken later is reason enough to come again.
        worst = min(refused.values(), key=lambda said: said[0])
        _demand(worst, "every receiver")
    taken = smtp.data(mail.as_bytes(policy=LINES))
    _demand(taken, "the message")
    lost = "; ".join(f"{to}: {_text(said)}" for to, said in refused.items())
    return _text(taken) + (f" (not for {lost})" if lost else "")


def _demand(said: Said, what: str) -> None:
    if said[0] not in _TAKEN:
        raise DeliveryError(f"{what} is refused: {_text(said)}", again=said[0] < 500)


def _text(said: Said) -> str:
    return bounded(f"{said[0]} {said[1].decode('utf-8', 'replace')}")


@contextmanager
def _failures(where: str, timeout: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise DeliveryError(f"{where} took longer than {timeout:g} s", again=True) from None
    except smtplib.SMTPAuthenticationError as error:
        # It is of the password, not of the message: somebody will put it right.
        raise DeliveryError(f"{where} refuses the user: {error.smtp_code}", again=True) from None
    except smtplib.SMTPResponseException as error:
        reason = f"{where}: {error.smtp_code} {_of(error.smtp_error)}"
        raise DeliveryError(reason, again=error.smtp_code < 500) from None
    except smtplib.SMTPNotSupportedError as error:
        raise DeliveryError(f"{where}: {error}", again=False) from None
    except (smtplib.SMTPException, OSError) as error:
        why = (error.strerror if not isinstance(error, smtplib.SMTPException) else "") or str(error)
        raise DeliveryError(f"{where}: {bounded(why)}", again=True) from None


def _of(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said


NOTIFIER = Notifier("mail", "Mail in plain text, by SMTP.", MailSettings, deliver)
