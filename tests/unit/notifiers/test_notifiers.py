"""Notifiers as declared: settings, their checks and their secrets, and a site's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canopsis.errors import InputError
from canopsis.notifiers.notifier import MASK, notifier_of, notifiers

ROOT = Path(__file__).parents[3]
URL = "https://hooks.example.org:8443/room/T0KEN?key=S3CRET"
WEBHOOK = {"url": URL, "headers": {"Authorization": "Bearer S3CRET"}, "timeout": 5}
SHOWN = {"url": f"https://hooks.example.org:8443/{MASK}", "headers": {"Authorization": MASK}, "timeout": 5}
MAIL = {"host": "mail", "sender": "a@example.org", "to": ["b@example.org"], "user": "u", "password": "S3CRET"}


def refused(kind: str, given: dict[str, Any]) -> InputError:
    with pytest.raises(InputError) as error:
        notifier_of(kind).read(given)
    return error.value


class TestSecrets:
    def test_they_are_never_shown(self) -> None:
        assert notifier_of("webhook").shown(WEBHOOK) == SHOWN
        assert notifier_of("mail").shown(MAIL) == MAIL | {"password": MASK}
        assert notifier_of("mail").shown({"password": ""}) == {"password": ""}

    def test_what_is_sent_as_it_is_shown_stays(self) -> None:
        webhook = notifier_of("webhook")
        assert webhook.restored(SHOWN, WEBHOOK) == WEBHOOK
        moved = {"url": "https://other.example.org/x", "headers": {"Authorization": MASK, "X-New": "new"}}
        assert webhook.restored(moved, WEBHOOK) == moved | {
            "headers": {"Authorization": "Bearer S3CRET", "X-New": "new"}
        }

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"url": f"https://other.example.org/{MASK}"}, "settings.url"),
            ({"headers": {"X-Other": MASK}}, "settings.headers.X-Other"),
            ({"headers": {"Authorization": f"Bearer {MASK}"}}, "settings.headers.Authorization"),
        ],
    )
    def test_a_mask_of_nothing_is_refused(self, given: dict[str, Any], field: str) -> None:
        with pytest.raises(InputError) as error:
            notifier_of("webhook").restored(WEBHOOK | given, WEBHOOK)
        assert error.value.field == field

    @pytest.mark.parametrize(
        ("kind", "given", "field"),
        [
            ("webhook", {"url": "ftp://S3CRET/"}, "settings.url"),
            ("webhook", {"url": "https://user:S3CRET@host/"}, "settings.url"),
            ("webhook", {"url": "http://host:S3CRET/"}, "settings.url"),
            ("webhook", {"url": "http://host/S3CRET\nx"}, "settings.url"),
            ("webhook", WEBHOOK | {"headers": {"X": "S3CRET\r\nY: 1"}}, "settings.headers.X"),
            ("webhook", WEBHOOK | {"headers": ["S3CRET"]}, "settings.headers"),
            ("webhook", WEBHOOK | {"headers": {"Host": "S3CRET"}}, "settings.headers.Host"),
            ("mail", MAIL | {"password": ["S3CRET"]}, "settings.password"),
        ],
    )
    def test_a_refusal_does_not_show_them(self, kind: str, given: dict[str, Any], field: str) -> None:
        error = refused(kind, given)
        assert error.field == field
        assert "S3CRET" not in f"{error} {error.value} {error.allowed}"


@pytest.mark.parametrize(
    ("kind", "given", "field", "allowed"),
    [
        ("pigeon", {}, "notifier", ", ".join(sorted(notifiers().things))),
        ("webhook", {}, "settings.url", "url"),
        ("webhook", WEBHOOK | {"timeout": 60}, "settings.timeout", "<= 30"),
        ("mail", MAIL | {"to": ["b"]}, "settings.to[0]", "such as ops@example.org"),
        ("mail", MAIL | {"host": "a b"}, "settings.host", "a name or an address"),
    ],
)
def test_what_cannot_be_is_refused(kind: str, given: dict[str, Any], field: str, allowed: str) -> None:
    error = refused(kind, given)
    assert error.field == field
    assert allowed in error.allowed


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site's own package, installed: the module that the documentation shows, and metadata, are on the path."""
    page = (ROOT / "docs" / "extending.md").read_text().split("## Add a notifier")[1]
    (tmp_path / "own_notifier.py").write_text(page.split("```python\n")[1].split("```")[0])
    info = tmp_path / "own_notifier-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-notifier\nVersion: 1.0\n")
    points = ("gotify = own_notifier:NOTIFIER", "lost = own_notifier.lost:NOTIFIER")
    (info / "entry_points.txt").write_text(os.linesep.join(["[canopsis.notifiers]", *points]))
    monkeypatch.syspath_prepend(tmp_path)
    notifiers.cache_clear()
    yield
    notifiers.cache_clear()


@pytest.mark.usefixtures("package")
def test_a_notifier_of_an_installed_package_is_one_of_the_site_and_one_that_is_lost_is_named() -> None:
    settings = {"server": "https://gotify.example.org", "token": "S3CRET"}
    gotify = notifier_of("gotify")
    assert gotify.read(settings) is not None
    assert gotify.shown(settings)["token"] == MASK
    assert refused("gotify", settings | {"server": "gotify"}).field == "settings.url"
    assert "own_notifier.lost:NOTIFIER of the package own-notifier" in refused("lost", {}).allowed


def test_nothing_of_ours_is_broken() -> None:
    assert notifiers().broken == {}
    assert set(notifiers().things) >= {"mail", "webhook"}
