"""How soon lists, alarms, events and series are answered over HTTP, with a full database; Alerta beside it.

Starts a broker, a database and the web server itself. Each question is asked again and again over one connection
that stays. The exit code never depends on time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import alerta
import filling
from figures import table
from http_load import Result, ask, flood, request
from site_of_benchmark import Site, for_web, headers_of, own_servers, own_web

from canopsis.store import client, migrations
from canopsis.store.client import Store

COMPONENT, RESOURCE = "host00042.example.org", "service7"
SERIES = "resource:host0000.example.org/service0"
SORTS = ("created", "state", "component")
FILTER = {"state": 2, "component": COMPONENT}


def questions(arguments: argparse.Namespace, port: int) -> Iterator[tuple[str, str]]:
    """Yield what is asked: in words, and as a path."""
    now = int(time.time())
    yield "100 open alarms", _path("alarms", limit=100)
    for sort in SORTS:
        yield f"100 open alarms by {sort}", _path("alarms", limit=100, sort=f"-{sort}")
    for sort in SORTS:
        yield f"100 of a state and a component by {sort}", _path("alarms", limit=100, sort=sort, **FILTER)
    yield "100 critical", _path("alarms", limit=100, state=2)
    yield "100 unknown, one in a thousand", _path("alarms", limit=100, state=3)
    yield "100 critical by component", _path("alarms", limit=100, state=2, sort="component")
    yield "alarms of a component", _path("alarms", limit=100, component=COMPONENT)
    yield "100 of a resource", _path("alarms", limit=100, resource=RESOURCE)
    yield "100 with a word in them", _path("alarms", limit=100, search="host00042")
    yield "one open alarm, and how many", _path("alarms", limit=1)
    yield "100 resolved alarms", _path("alarms", limit=100, show="resolved")
    yield "100 after 2,000", _path("alarms", limit=100, after=_after(port, 2000))
    yield "an alarm with its steps", f"/api/v1/alarms/{_get(port, _path('alarms', limit=1))['data'][0]['_id']}"
    if arguments.stored:
        yield "50 events of an entity", _path("events", limit=50, entity_id=SERIES)
        yield "50 newest events", _path("events", limit=50)
        series = f"/api/v1/metrics/{quote(SERIES, safe='')}/time"
        yield "a day of a series", series + "?" + urlencode({"from": now - 86400, "to": now})


def _path(name: str, **query: object) -> str:
    return f"/api/v1/{name}?{urlencode(query)}"


def _get(port: int, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(port, request("GET", path, headers_of("reader"))))
    return found


def _after(port: int, count: int) -> str:
    """Return the place behind the first ``count`` alarms."""
    after = ""
    for _ in range(count // 1000):
        after = _get(port, _path("alarms", limit=1000, **({"after": after} if after else {})))["next"]
    return after


ALERTA = {
    "100 open alarms": {"status": "open", "page-size": 100},
    "100 of a state and a component": {"status": "open", "severity": "critical", "resource": COMPONENT},
    "100 critical": {"status": "open", "severity": "critical", "page-size": 100},
}
"""The same questions, as Alerta understands them."""


def measured(port: int, path: str, headers: dict[str, str], seconds: float) -> Result:
    """Ask for ``seconds`` over one connection; the first answer is not counted."""
    sent = request("GET", path, headers)
    ask(port, sent)
    return flood(port, repeat(sent), 1, seconds)


def of_alerta(site: Site, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what Alerta answers, with as many open alerts."""
    with client.opened(site.store) as db:
        db.client.drop_database("alerta")
        with alerta.running(site.store.hosts[0][1]) as port:
            alerta.fill(db.client["alerta"], arguments.open)
            for what, query in ALERTA.items():
                found = measured(port, f"/alerts?{urlencode(query)}", {}, max(arguments.seconds, 10.0))
                yield {"Alerta": what, **found.row()}


def prepare(db: Store, arguments: argparse.Namespace) -> None:
    """Fill an empty database."""
    db.client.drop_database(db.name)
    migrations.ensure(db)
    filling.fill_alarms(db, arguments.open, arguments.resolved)
    filling.fill(db, arguments.stored)


def main() -> int:
    """Fill, ask, print."""
    arguments = _arguments()
    rows: list[dict[str, Any]] = []
    with own_servers() as servers:
        site = for_web(servers)
        with client.opened(site.store) as db:
            prepare(db, arguments)
        with own_web(site) as port:
            for what, path in questions(arguments, port):
                rows.append({"what": what, **measured(port, path, headers_of("reader"), arguments.seconds).row()})
        print(table(rows), flush=True)
        if arguments.alerta:
            beside = list(of_alerta(site, arguments))
            print(table(beside))
            rows += beside
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--open", type=int, default=100_000, help="open alarms (default 100000)")
    parser.add_argument("--resolved", type=int, default=2_000_000, help="resolved alarms (default 2000000)")
    parser.add_argument("--stored", type=int, default=5_000_000, help="stored events (default 5000000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each question is asked (default 3)")
    parser.add_argument("--alerta", action="store_true", help="install Alerta and ask it too")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
