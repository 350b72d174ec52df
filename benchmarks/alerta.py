"""Alerta beside us: its own server over the same database server, with as many open alerts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from http_load import ask, request
from load import OUTPUT
from site_of_benchmark import free_port

from canopsis.ops import wait
from canopsis.store.client import Store

VERSION = "9.1.0"
_SEVERITIES = ("warning", "critical", "minor")
_BATCH = 5000
_GUNICORN = ("-w", "2", "--threads", "8", "-k", "gthread", "--access-logfile", "/dev/null", "alerta:create_app()")


def alert(number: int, severity: str) -> dict[str, Any]:
    """Return an alert as it is sent."""
    return {
        "environment": "Production",
        "resource": f"host{number // 10:05d}.example.org",
        "event": f"service{number % 10}",
        "severity": severity,
        "service": ["bench"],
        "text": OUTPUT,
    }


@contextmanager
def running(mongodb_port: int) -> Iterator[int]:
    """Install Alerta, and run it over the database ``alerta``; yields its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        python = _installed(Path(folder, "venv"))
        environment = os.environ | {"DATABASE_URL": f"mongodb://127.0.0.1:{mongodb_port}/alerta?replicaSet=canopsis"}
        command = [str(python), "-m", "gunicorn", "-b", f"127.0.0.1:{port}", *_GUNICORN]
        with Path(folder, "log").open("wb") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            if not wait.until(lambda: _answers(port), 60.0):
                raise SystemExit(f"Alerta does not answer: {Path(folder, 'log').read_text()[-2000:]}")
            yield port
        finally:
            server.terminate()
            server.wait(30)


def _installed(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = (f"alerta-server=={VERSION}", "pymongo", "gunicorn")
    subprocess.run([python, "-m", "pip", "install", "-qq", *wanted], check=True, stdout=sys.stderr)
    return python


def _answers(port: int) -> bool:
    try:
        return bool(ask(port, request("GET", "/alerts?page-size=1", {})))
    except (OSError, ValueError):
        return False


def fill(db: Store, count: int) -> None:
    """Store ``count`` open alerts as Alerta does."""
    now = datetime.now(UTC)
    for begin in range(0, count, _BATCH):
        db.alerts.insert_many([_stored(number, now) for number in range(begin, min(begin + _BATCH, count))])


def _stored(number: int, now: datetime) -> Mapping[str, Any]:
    own = uuid.UUID(int=number + (4 << 76)).hex
    sent = alert(number, _SEVERITIES[number % 3])
    first = {"id": own, "event": sent["event"], "severity": sent["severity"], "status": "open", "value": None}
    return {
        "_id": own,
        **sent,
        **dict.fromkeys(("value", "origin", "rawData", "customer"), None),
        "correlate": [],
        "status": "open",
        "group": "Misc",
        "tags": [],
        "attributes": {},
        "type": "exceptionAlert",
        "timeout": 86400,
        "duplicateCount": 0,
        "repeat": False,
        "lastReceiveId": own,
        "previousSeverity": "indeterminate",
        "trendIndication": "moreSevere",
        **dict.fromkeys(("createTime", "receiveTime", "lastReceiveTime", "updateTime"), now),
        "history": [{**first, "text": OUTPUT, "type": "new", "updateTime": now, "user": None, "timeout": 86400}],
    }
