"""Long lists are read whole, also when a page ends early."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from canopsis.errors import SiteError
from canopsis.ops.apiclient import Answer
from canopsis.ops.walk import pages


class Listing:
    """Seven documents, in pages of these sizes as long as they are given, each at its place."""

    def __init__(self, *sizes: int, status: int = 200) -> None:
        self.sizes, self.status, self.calls = list(sizes), status, 0

    def call(self, _method: str, _path: str, *, query: Mapping[str, object]) -> Answer:
        self.calls += 1
        start, limit = int(str(query.get("start", 0))), int(str(query["limit"]))
        end = min(7, start + (self.sizes.pop(0) if self.sizes else limit))
        more = {"next": end} if end < 7 else {}
        return Answer(self.status, "", json.dumps({"data": list(range(start, end))} | more).encode())


@pytest.mark.parametrize(("sizes", "calls"), [((), 3), ((1, 1, 1), 5), ((3, 2, 1), 4)])
def test_a_page_of_large_documents_ends_early_and_the_next_one_follows(sizes: tuple[int, ...], calls: int) -> None:
    listing = Listing(*sizes)
    assert list(pages(listing, "/x", {"sort": "t"}, 3)) == list(range(7))  # type: ignore[arg-type]
    assert listing.calls == calls


def test_a_list_that_is_read_by_key_goes_on_after_each_page() -> None:
    class Keyed:
        def call(self, _method: str, _path: str, *, query: Mapping[str, object]) -> Answer:
            assert "start" not in query
            at = int(str(query.get("after", 0)))
            page = {"data": list(range(at, min(at + 3, 7)))} | ({"next": str(at + 3)} if at < 6 else {})
            return Answer(200, "", json.dumps(page).encode())

    assert list(pages(Keyed(), "/x", {}, 3)) == list(range(7))  # type: ignore[arg-type]


def test_a_page_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(SiteError, match="GET /x: 503"):
        list(pages(Listing(status=503), "/x", {}, 3))  # type: ignore[arg-type]
