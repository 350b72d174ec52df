"""Whether a program that runs is also ready: cheap questions to its port."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from canopsis.errors import ConfigError
from canopsis.ops import config
from canopsis.ops.kinds import host_port
from canopsis.ops.prefix import Prefix
from canopsis.ops.programs import ProgramFile

Probe = Callable[[], str]
"""Returns why a program is not ready yet, or an empty text."""

_TIMEOUT = 2.0
_HEALTHZ = "/api/v1/healthz"
_PORT_OF_MONGODB = re.compile(r"^\s*port\s*[:=]\s*(\d+)", re.MULTILINE)
_ADDRESS_OF_MONGODB = re.compile(r"^\s*bind_?[iI]p\s*[:=]\s*['\"]?([^'\",\s]+)", re.MULTILINE)
_BIND_OF_GUNICORN = re.compile(r"(?:--bind|-b)[ =](\S+):(\d+)")
_CERTIFICATE_OF_GUNICORN = re.compile(r"--certfile[ =](\S+)")
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1", "localhost": "127.0.0.1"}  # noqa: S104 - looked at, not bound


def probe_of(prefix: Prefix, program: ProgramFile) -> Probe | None:
    """Return the question to ask ``program`` once it runs, or None when there is none."""
    make = {"mongodb": _mongodb, "rabbitmq-server": _rabbitmq, "webserver": _webserver}.get(program.name)
    return make(prefix, program) if make else None


def _mongodb(prefix: Prefix, _program: ProgramFile) -> Probe | None:
    path = prefix.etc("mongodb.conf")
    text = path.read_text(errors="replace") if path.is_file() else ""
    port, address = _PORT_OF_MONGODB.search(text), _ADDRESS_OF_MONGODB.search(text)
    return _port(address[1] if address else "127.0.0.1", int(port[1])) if port else None


def _rabbitmq(prefix: Prefix, _program: ProgramFile) -> Probe | None:
    try:
        hosts = config.amqp_hosts(prefix)
    except ConfigError:
        return None  # a host with the broker alone has no amqp.conf
    here = next((host for host in hosts if is_here(host[0])), None)
    return _port(*here) if here else None


def _webserver(_prefix: Prefix, program: ProgramFile) -> Probe | None:
    found = _BIND_OF_GUNICORN.search(program.command)
    if not found:
        return None
    host, port = found[1].strip("[]"), int(found[2])
    certificate = _CERTIFICATE_OF_GUNICORN.search(program.command)
    return _healthz(host, port, Path(certificate[1]) if certificate else None)


def _port(host: str, port: int) -> Probe:
    host = _EVERY_ADDRESS.get(host, host)

    def probe() -> str:
        try:
            socket.create_connection((host, port), timeout=_TIMEOUT).close()
        except OSError as error:
            return f"{host_port(host, port)}: {error.strerror or error}"
        return ""

    return probe


def _healthz(host: str, port: int, certificate: Path | None) -> Probe:
    host = _EVERY_ADDRESS.get(host, host)
    where = f"{'https' if certificate else 'http'}://{host_port(host, port)}{_HEALTHZ}"

    def probe() -> str:
        try:
            status = _status(host, port, certificate)
        except (OSError, http.client.HTTPException) as error:
            return f"{where}: {error}"
        return "" if status == http.client.OK else f"{where} answers {status}"

    return probe


def _status(host: str, port: int, certificate: Path | None) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    if certificate:
        connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=_trusting(certificate))
    try:
        connection.request("GET", _HEALTHZ)
        return connection.getresponse().status
    finally:
        connection.close()


def _trusting(certificate: Path) -> ssl.SSLContext:
    """Trust the very certificate that the server is told to show: who asks is this host itself, by any name."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    # The certificate is no authority, and nobody else holds its key.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def is_here(host: str) -> bool:
    """Whether ``host`` (name or address) is this machine: only then can a socket be bound to it."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_binds(family, address) for family, _, _, _, address in found)


def _binds(family: int, address: tuple[str | int, ...] | tuple[int, bytes]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True
