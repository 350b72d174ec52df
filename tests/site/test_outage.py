"""The broker, then the database, away under load: engines wait, the API says when to try again, all recover alone."""

from __future__ import annotations

import os
import threading
import uuid

import pytest
from bad_input import event
from load import RATE, under_load
from local_site import LocalSite, eventually, status_of

OUTAGE = float(os.environ.get("CANOPSIS_TEST_OUTAGE", "10"))
"""Seconds that a server is away."""

SERVERS = ("rabbitmq-server", "mongodb")


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_killed_and_away_for_a_while(site: LocalSite, server: str) -> None:
    before = site.engines()
    with under_load(site) as load:
        site.kill(server)
        site.good("service", server, "stop")
        eventually(lambda: status_of(site.port, "/api/v1/readyz") == 503, 30, "/readyz answers 503")
        assert status_of(site.port, "/api/v1/healthz") == 200
        check_refusal(site, server)
        threading.Event().wait(OUTAGE)
        check_refusal(site, server)
        site.good("service", server, "start")
        site.ready()
        load.more(RATE)
    assert site.engines() == before, "an engine did not live through the outage"
    site.good("hypcontrol", "status")


def check_refusal(site: LocalSite, server: str) -> None:
    """Fail unless the API says 503 and when to try again, for what it needs the server for."""
    if server == "mongodb":
        # Keys of users are in the database too: without it nobody is let in.
        answer = site.ask("GET", "alarms")
    else:
        answer = site.ask("POST", "events", event(component=f"away-{uuid.uuid4().hex[:6]}"))
    assert answer.status == 503, f"{answer.status} {answer.content[:300]!r}"
    assert answer.retry_after > 0
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_killed_and_comes_back_at_once(site: LocalSite, server: str) -> None:
    with under_load(site) as load:
        old = site.kill(server)
        site.runs_again(server, old, timeout=120)
        site.ready()
        load.more(RATE)
