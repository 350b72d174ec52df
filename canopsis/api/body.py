"""Request bodies: what they may be, what they may cost, and reading the small ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

import msgspec
import msgspec.inspect
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wrappers import Request

from canopsis.api.limits import Lease
from canopsis.core.structs import prepare, refusal
from canopsis.errors import InputError, RequestError

MAX_BODY = 16 << 20
"""Bytes of the body of a list of events."""

SMALL_BODY = 64 << 10
"""Bytes of the body of anything else, unless its endpoint says otherwise."""

MAX_ELEMENTS = 600_000
"""Values that a body of JSON may have: each costs more in memory than on the wire, ``[]`` fifty times as much."""

ELEMENT_COST, COPIES = 150, 3
"""Bytes that a value takes once it is decoded, and how often the text of a body is there at once."""

MAX_DRAINED = 4 * MAX_BODY
"""Bytes of a body that are read away when nobody wants it."""

_CHUNK = 1 << 16
_BROKEN = (OSError, ParseException, ClientDisconnected)

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TEXT = "text/plain"

MAX_TEXT = 4096

Struct = TypeVar("Struct", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Body:
    """What the body of an endpoint may be. ``schema`` is of its JSON; ``optional`` lets it be empty.

    ``limit`` is how many bytes it may have. ``kind`` is the struct that it is read into, None where the call reads it.
    """

    schema: Mapping[str, object] = field(default_factory=dict)
    types: tuple[str, ...] = (JSON,)
    optional: bool = False
    example: object = None
    limit: int = SMALL_BODY
    kind: type[msgspec.Struct] | None = None


def text(description: str, limit: int = MAX_TEXT, pattern: str = "", allowed: str = "") -> msgspec.Meta:
    """Return what the text of a field may be, for ``Annotated`` in the struct of a body.

    ``pattern`` is what it must be unless it is empty; ``allowed`` says it in words.
    """
    return msgspec.Meta(
        description=description,
        max_length=limit,
        # A pattern of a schema also matches before a line feed at the end.
        pattern=rf"^({pattern})?$(?!\n)" if pattern else r"^[^\u0000]*$",
        extra={"allowed": allowed or f"a text of at most {limit} characters without NUL"},
    )


def body_of(
    kind: type[msgspec.Struct], *, optional: bool = False, types: tuple[str, ...] = (JSON,), limit: int = 0
) -> Body:
    """Return the body that is an object of the struct ``kind``; ``limit`` is in bytes, 0: what its texts may take."""
    prepare(kind)
    return Body(types=types, optional=optional, limit=limit or _bytes_of(kind), kind=kind)


def _bytes_of(kind: type[msgspec.Struct]) -> int:
    """Return how many bytes an object may have: what its texts take at most, as far as all its fields are texts."""
    size = 0
    for each in inspected(kind).fields:
        found = each.type.type if isinstance(each.type, msgspec.inspect.Metadata) else each.type
        if not isinstance(found, msgspec.inspect.StrType) or found.max_length is None:
            return SMALL_BODY
        # A character may be written as two escapes of six bytes each.
        size += 12 * found.max_length + len(each.encode_name) + 16
    return size


def inspected(kind: type[msgspec.Struct]) -> msgspec.inspect.StructType:
    """Return what msgspec knows of a struct."""
    return cast(msgspec.inspect.StructType, msgspec.inspect.type_info(kind))


@dataclass(slots=True)
class Content:
    """The body of a request as it came."""

    type: str = ""
    data: bytes = field(default=b"", repr=False)


def read(request: Request, body: Body, lease: Lease) -> Content:
    """Return the content of ``request``; ``lease`` grows by what it costs.

    Raises RequestError: 408 when it does not come, 413 when it is too large, 415, 503 when there is
    no memory for it. Raises InputError when it is empty.
    """
    data = _bytes(request, body.limit, lease)
    if not data:
        if body.optional:
            return Content()
        raise InputError("body", "", "not empty; " + " or ".join(body.types))
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise _unsupported("Content-Encoding", encoding, ("identity",))
    if request.mimetype not in body.types:
        raise _unsupported("Content-Type", request.mimetype, body.types)
    charset = request.mimetype_params.get("charset", "utf-8")
    if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise _unsupported("charset", charset, ("utf-8",))
    _weigh(data, lease)
    return Content(request.mimetype, data)


def _bytes(request: Request, limit: int, lease: Lease) -> bytes:
    allowed = "a whole body: of its length, or in chunks"
    # One byte more than is taken: a body without a length is cut there, and seen to be too long.
    request.max_content_length = limit + 1
    parts: list[bytes] = []
    size = 0
    try:
        while size <= limit and (part := request.stream.read(_CHUNK)):
            lease.grow(len(part) * COPIES)
            parts.append(part)
            size += len(part)
            if size == request.content_length:
                break
    except RequestEntityTooLarge as error:
        raise _too_large(f"at most {limit} bytes") from error
    except _BROKEN as error:
        _demand_in_time(request)
        raise InputError("body", str(error), allowed) from error
    _demand_in_time(request)
    if size > limit:
        raise _too_large(f"at most {limit} bytes")
    if request.content_length not in (None, size):
        raise InputError("body", f"{size} of {request.content_length} bytes", allowed)
    return b"".join(parts)


def _demand_in_time(request: Request) -> None:
    if getattr(request.environ["wsgi.input"], "late", False):
        raise RequestError(408, "the body did not come in time: send it in one go", headers={"Connection": "close"})


def _weigh(data: bytes, lease: Lease) -> None:
    """Take the memory that the values of a body will need, before one of them is made. Raises RequestError."""
    elements = sum(map(data.count, (b",", b"[", b"{", b"%2C", b"%2c", b"%5B", b"%5b", b"%7B", b"%7b")))
    if elements > MAX_ELEMENTS:
        raise _too_large(f"at most {MAX_ELEMENTS} values (commas and brackets are counted); send several requests")
    lease.grow(elements * ELEMENT_COST)


def _too_large(allowed: str) -> RequestError:
    members = {"field": "body", "value": "too large", "allowed": allowed}
    return RequestError(413, f"the body is too large; allowed: {allowed}", members)


def drain(request: Request) -> None:
    """Read away what is left of a body, within bounds: a client that is still sending would not see its answer."""
    left = MAX_DRAINED
    stream = request.environ["wsgi.input"]
    try:
        while left > 0 and (chunk := stream.read(_CHUNK)):
            left -= len(chunk)
    except _BROKEN:
        return  # the client went, or does not speak HTTP: nobody is left to answer


def object_in(content: Content) -> dict[str, object]:
    """Return the object of a body, an empty one of an empty body. Raises InputError naming ``body``."""
    if not content.data:
        return {}
    try:
        found = msgspec.json.decode(content.data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InputError("body", str(error), "a JSON object in UTF-8") from error
    if not isinstance(found, dict):
        raise InputError("body", type(found).__name__, "a JSON object")
    return found


def read_struct(found: Mapping[str, object], kind: type[Struct]) -> Struct:
    """Return what an object says, as a struct. Raises InputError naming the field."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        name, value, allowed = refusal(error, found, kind)
        raise InputError(name or "body", value, allowed) from error


def _unsupported(name: str, value: str, allowed: Collection[str]) -> RequestError:
    choices = " or ".join(allowed)
    detail = f"{name}: {value or '(none)'} is not taken; send {choices}"
    return RequestError(415, detail, {"field": name, "value": value, "allowed": choices})
