"""The API as a page to read, and how a browser finds it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from api_fakes import Api

PAGE = "/api/docs"


class Found(HTMLParser):
    """The ids, the links and the tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.tags: set[str] = set()
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.tags.add(tag)
        self.ids += [facts["id"] or ""] if "id" in facts else []
        self.links |= {facts[name] or "" for name in ("href", "src") if name in facts}
        self.inline += [name for name in facts if name == "style" or name.startswith("on")]


@pytest.fixture(name="text")
def text_of_the_page(api: Api) -> str:
    return api.get(PAGE, None).get_data(as_text=True)


def test_it_shows_each_call_with_a_line_that_does_it(api: Api, text: str) -> None:
    for endpoint in api.endpoints:
        assert f"<b>{endpoint.method}</b> <code>{endpoint.shown_path}</code>" in text
        for parameter in endpoint.parameters:
            assert f"<code>{parameter.name}</code>" in text
    assert "curl -X POST -H &#34;X-Canopsis-Authkey: $KEY&#34; -H &#39;Content-Type: application/json&#39;" in text


def test_every_link_leads_somewhere(api: Api, text: str) -> None:
    found = Found(text)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    for link in found.links:
        assert link.startswith(("#", "/")), "nothing of another site"
        assert link.startswith("#") or api.get(link, "reader").status_code == 200


def test_it_needs_no_script_and_may_have_none(api: Api, text: str) -> None:
    found = Found(text)
    assert not found.tags & {"script", "style", "iframe"}
    assert found.inline == []
    policy = api.get(PAGE, None).headers["Content-Security-Policy"]
    assert re.match(r"default-src 'none'; style-src 'self';", policy)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 303),
        ("*/*", 200),
        ("application/json", 200),
        (None, 200),
    ],
)
def test_a_browser_is_led_there(api: Api, accept: str | None, status: int) -> None:
    answer = api.get("/", None, headers={"Accept": accept} if accept else {})
    assert answer.status_code == status
    assert answer.headers.get("Location") == (PAGE if status == 303 else None)
    assert "Accept" in answer.vary
