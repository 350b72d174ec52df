"""Names of brokers: looked up within a time, IPv4 first."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from canopsis.transport import names


def test_g8_a_lookup_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_asked: over.wait(30) and [])
    with pytest.raises(TimeoutError, match=r"the name broker1 was not resolved within 0\.05 s"):
        names.addresses("broker1", 0.05)
    over.set()


def test_g8_nobody_waits_for_an_answer_about_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def resolves(_host: str, _port: None, family: int, *_more: int) -> list[Any]:
        asked.append(family)
        return [(family, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolves)
    assert names.addresses("broker1", 5.0) == ["192.0.2.1"]
    assert asked == [socket.AF_INET]


def test_g8_a_broker_of_ipv6_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolves(_host: str, _port: None, family: int, *_more: int) -> list[Any]:
        if family == socket.AF_INET:
            raise socket.gaierror(-5, "No address associated with hostname")
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 0, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolves)
    assert names.addresses("broker1", 5.0) == ["fd00::1"]


def test_g8_a_name_that_nobody_knows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_asked: object) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(OSError, match="Name or service not known"):
        names.addresses("nowhere", 5.0)
