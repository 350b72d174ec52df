"""Successful answers: ``{"total": n, "success": true, "data": […]}``."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from flask import Response

from canopsis.store.query import Page


def _foreign(value: object) -> object:
    # What BSON has and JSON has not: 64-bit integers, bytes, object ids.
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_foreign)


def encode(value: object) -> bytes:
    """Return ``value`` as JSON; documents of the database may be in it."""
    return _ENCODER.encode(value)


def bare(data: object) -> Response:
    """Return an answer in the form of another product."""
    return Response(_ENCODER.encode(data), content_type="application/json")


def many(data: Sequence[Any], status: int = 200) -> Response:
    """Return a list that is whole."""
    body = {"total": len(data), "success": True, "data": data}
    return Response(_ENCODER.encode(body), status, content_type="application/json")


def partly(data: Sequence[Any], refused: int) -> Response:
    """Return the results of what was done for some and refused for others (207)."""
    body = {
        "total": len(data),
        "success": False,
        "accepted": len(data) - refused,
        "refused": refused,
        "data": data,
    }
    return Response(_ENCODER.encode(body), 207, content_type="application/json")


def page_of(page: Page, data: Sequence[Any] | None = None) -> Response:
    """Return a page of a list, ``data`` in place of its documents; ``exact`` false: there may be more than ``total``.

    ``next`` says where to go on when the page ended before its limit.
    """
    body: dict[str, Any] = {"total": page.total, "success": True, "data": page.data if data is None else data}
    if not page.exact:
        body["exact"] = False
    if page.next is not None:
        body["next"] = page.next
    return Response(_ENCODER.encode(body), content_type="application/json")


def part_of(data: Sequence[Any], total: int, older: str | None) -> Response:
    """Return a part of a list that is read from its end; ``older`` leads to the part before, None for none."""
    body = {"total": total, "success": True, "data": data, "older": older}
    return Response(_ENCODER.encode(body), content_type="application/json")


def one(data: Mapping[str, Any] | msgspec.Struct, status: int = 200) -> Response:
    """Return one thing, as a list of one."""
    return many([data], status=status)
