"""Whether the broker itself says when it took a message, or only hands on what a sender says."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import replace

import amqp

from canopsis.errors import TransportError
from canopsis.transport.connection import Connection, connect
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.wire import STAMP

FIRST_VERSION = (3, 12)
"""The first broker that writes the time over whatever a sender wrote there."""

_FORGED = 1
_LONGEST_WAIT = 5.0
_LOG = logging.getLogger(__name__)


def stamps(version: tuple[int, ...], settings: AmqpSettings) -> bool:
    """Tell whether the broker of ``version`` writes its own time on each message. Raises nothing.

    It is asked, for the interceptor that does it is a setting: on a connection of its own, as a
    broker that blocks publishers would block this one too. One that does not answer does not stamp.
    """
    if version < FIRST_VERSION:
        return False
    try:
        connection = connect(replace(settings, write_timeout=min(settings.write_timeout, _LONGEST_WAIT)), "stamps")
        try:
            return writes_over(echo(connection))
        finally:
            connection.close()
    except TransportError as error:
        _LOG.warning("whether the broker stamps messages is not known, so no stamp is believed: %s", error)
        return False


def echo(connection: Connection) -> Mapping[str, object]:
    """Send a forged time to a queue of our own; return the headers it comes back with. Raises TransportError."""
    queue = f"canopsis.stamps.{uuid.uuid4().hex}"
    channel = connection.channel()
    with connection.errors("cannot find out whether the broker stamps messages"):
        channel.queue_declare(queue, exclusive=True, auto_delete=True)
        channel.confirm_select()
        channel.basic_publish_confirm(amqp.Message(b"", application_headers={STAMP: _FORGED}), "", queue)
        found = channel.basic_get(queue, no_ack=True)
        channel.close()
    return {} if found is None else dict(found.headers)


def writes_over(headers: Mapping[str, object]) -> bool:
    """Tell whether ``headers`` of a message that was sent with a forged time have another one now."""
    return headers.get(STAMP, _FORGED) != _FORGED
