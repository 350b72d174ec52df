"""A certificate of a server on this host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate of localhost that nobody signed, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    files = (str(folder / "server.pem"), str(folder / "server.key"))
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]]
    subprocess.run(argv, check=True, capture_output=True)
    assert Path(files[0]).is_file()
    return files
