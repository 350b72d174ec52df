"""The site's own callers of the API over https: the probe of a host, and the smoke test. A real server answers."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from canopsis.ops import probes
from canopsis.ops.prefix import Prefix
from canopsis.ops.programs import ProgramFile

ModuleOf = Callable[[str], ModuleType]
HOST = "127.0.0.1"


class Healthy(BaseHTTPRequestHandler):
    """Answers as an API that is well."""

    def do_GET(self) -> None:
        """Answer 200 to the address of health alone."""
        self.send_response(200 if self.path == "/api/v1/healthz" else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"data": []}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Quiet(ThreadingHTTPServer):
    """A server that says nothing of handshakes that failed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@pytest.fixture
def certificates(module_of: ModuleOf, tmp_path: Path) -> Path:
    """A folder with the authority and the certificate ``n1.pem``, which names 127.0.0.1."""
    module = module_of("canopsis_certificates")
    asked = {"folder": str(tmp_path / "tls"), "hosts": {"n1": ["n1", HOST], "n2": ["n2"]}}
    params = {name: option.get("default") for name, option in module.ARGUMENTS.items()} | asked
    module.ours(params, datetime.now(UTC), check_mode=False)
    return tmp_path / "tls"


@pytest.fixture
def serve(certificates: Path) -> Iterator[Callable[[str], int]]:
    """Start servers that show the certificate of a host; each returns its port."""
    servers: list[Quiet] = []

    def start(host: str) -> int:
        server = Quiet((HOST, 0), Healthy)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{host}.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def probed(certificate: Path, port: int, tmp_path: Path) -> str:
    """Return what the probe says of a web server that is started to show ``certificate``."""
    command = f"gunicorn --certfile {certificate} -b {HOST}:{port} app"
    probe = probes.probe_of(Prefix(tmp_path), ProgramFile("webserver", tmp_path, command))
    assert probe is not None
    return probe()


def test_the_probe_trusts_what_the_server_is_told_to_show(
    serve: Callable[[str], int], certificates: Path, tmp_path: Path
) -> None:
    # By an address that the certificate does not name: a host may listen on one that nobody else knows.
    assert probed(certificates / "n2.pem", serve("n2"), tmp_path) == ""


def test_the_probe_finds_a_server_that_shows_another(
    serve: Callable[[str], int], certificates: Path, tmp_path: Path
) -> None:
    assert "certificate verify failed" in probed(certificates / "n1.pem", serve("n2"), tmp_path)


def test_the_probe_says_that_nobody_answers(certificates: Path, tmp_path: Path) -> None:
    assert "refused" in probed(certificates / "n1.pem", 1, tmp_path)


def test_the_probe_names_a_certificate_that_is_not_there(serve: Callable[[str], int], tmp_path: Path) -> None:
    assert "No such file" in probed(tmp_path / "none.pem", serve("n1"), tmp_path)


def test_the_smoke_test_calls_over_https(serve: Callable[[str], int], certificates: Path, module_of: ModuleOf) -> None:
    site = module_of("canopsis_smoke").Site(f"https://{HOST}:{serve('n1')}", "key", str(certificates / "ca.pem"))
    assert site.call("GET", "/healthz") == {"data": []}


@pytest.mark.parametrize(("host", "trusted"), [("n2", "ca.pem"), ("n1", "")])
def test_the_smoke_test_refuses_another_name_or_authority(
    serve: Callable[[str], int], certificates: Path, module_of: ModuleOf, host: str, trusted: str
) -> None:
    trusting = str(certificates / trusted) if trusted else ""
    site = module_of("canopsis_smoke").Site(f"https://{HOST}:{serve(host)}", "key", trusting)
    with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
        site.call("GET", "/healthz")


def test_the_smoke_test_names_an_authority_that_is_not_there(module_of: ModuleOf, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        module_of("canopsis_smoke").Site("https://n1:8082", "key", str(tmp_path / "none.pem"))
