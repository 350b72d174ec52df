"""Long lists of the API, read page by page and part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from canopsis.errors import SiteError
from canopsis.ops.apiclient import Api

Found = Mapping[str, Any]


def pages(api: Api, path: str, query: Mapping[str, object], limit: int) -> Iterator[Found]:
    """Yield all that a list has, ``limit`` at a time. Raises SiteError when a page cannot be read."""
    place: dict[str, object] = {}
    while True:
        page = _get(api, path, {**query, "limit": limit, **place})
        yield from page["data"]
        following = page.get("next")
        if following is None:
            return
        place = {"after" if isinstance(following, str) else "start": following}


def parts(api: Api, path: str) -> Iterator[Found]:
    """Yield what the API shows newest first, asking for each ``older`` part when it is wanted.

    Raises SiteError when one cannot be read.
    """
    query: dict[str, object] = {}
    while True:
        part = _get(api, path, query)
        yield from part["data"]
        if part["older"] is None:
            return
        query = {"older": part["older"]}


def _get(api: Api, path: str, query: Mapping[str, object]) -> Found:
    answer = api.call("GET", path, query=query)
    if not answer.good:
        raise SiteError(f"GET {path}: {answer.problem()}")
    found: Found = answer.json()
    return found
