"""Webhooks to a real HTTP server: what is sent, what comes back, and what is worth another attempt."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from receiver import Receiver
from servers import free_port

from canopsis.core.rules.notification import Message
from canopsis.errors import DeliveryError
from canopsis.notifiers.webhook import NOTIFIER, deliver

ALERT = {"alarm_id": "a1", "component": "web", "resource": None, "output": "no answer", "tags": ["x"]}


def message(body: str | None = None) -> Message:
    return Message("n1", "ops", ("opened",), "[critical] web", body, ALERT)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def post(url: str, body: str | None = None, **settings: Any) -> str:
    return deliver(message(body), NOTIFIER.read({"url": url, "timeout": 2} | settings))  # type: ignore[arg-type]


def failure(url: str, **settings: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as failed:
        post(url, **settings)
    assert "T0KEN" not in str(failed.value)
    return failed.value


def test_an_alert_is_posted_as_json_with_our_headers(receiver: Receiver) -> None:
    assert post(receiver.url, headers={"Authorization": "Bearer s3cret"}) == "200 OK: thank you"
    (body,), (headers,) = receiver.bodies, receiver.headers
    about = {"notification_id": "n1", "rule": "ops", "subject": "[critical] web", "happened": ["opened"]}
    assert body == about | ALERT
    wanted = {"Content-Type": "application/json", "Idempotency-Key": "n1", "Authorization": "Bearer s3cret"}
    assert headers.items() >= wanted.items()


def test_what_a_template_made_is_posted_as_it_is(receiver: Receiver) -> None:
    post(receiver.url, json.dumps({"text": "é"}), headers={"content-type": "application/vnd.own+json"})
    assert receiver.bodies == [{"text": "é"}]
    assert receiver.headers[0]["content-type"] == "application/vnd.own+json"


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (503, True), (429, True), (408, True), (400, False), (404, False), (302, False)]
)
def test_the_answer_says_whether_to_try_again(receiver: Receiver, status: int, again: bool) -> None:
    receiver.statuses.append(status)
    error = failure(receiver.url)
    assert (error.again, str(error)[:3]) == (again, str(status))


def test_a_receiver_says_when_to_come_again(receiver: Receiver) -> None:
    receiver.statuses += [429, 503]
    receiver.answer["Retry-After"] = "30"
    assert failure(receiver.url).after == 30
    receiver.answer["Retry-After"] = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert failure(receiver.url).after == 0


def test_nobody_there_and_nobody_who_answers(receiver: Receiver) -> None:
    port = free_port()
    error = failure(f"http://127.0.0.1:{port}/T0KEN")
    assert (str(error), error.again) == (f"127.0.0.1:{port}: Connection refused", True)
    receiver.statuses.append(0)
    error = failure(receiver.url, timeout=0.3)
    assert (str(error), error.again) == (f"127.0.0.1:{receiver.port} gave no answer in 0.3 s", True)


def test_one_who_sends_a_byte_now_and_then_holds_nobody_up() -> None:
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not over.wait(0.05):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        error = failure(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.5)
        over.set()
        thread.join()
    assert error.again


def test_a_certificate_that_nobody_knows_is_refused_unless_it_is_named(
    receiver: Receiver, certificate: tuple[str, str]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    receiver.encrypt(context)
    url = receiver.url.replace("http://127.0.0.1", "https://localhost")
    error = failure(url)
    assert error.again
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert post(url, ca_file=certificate[0]).startswith("200")
    assert post(url, verify=False).startswith("200")
    assert "ca_file /nowhere cannot be read" in str(failure(url, ca_file="/nowhere"))
