"""Requests that no client library would send, as they stand on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from urllib.parse import quote, quote_plus

from hostile_bodies import Bodies, Body
from mutations import torn

EVENTS, CLASSIC = "/api/v1/events", "/event"

_ROUTES = (
    *("/", "/api/v1", "/api/v1/events", "/event", "/api/v1/alarms", "/api/v1/entities", "/api/v1/metrics"),
    *("/api/v1/dead-letters", "/api/v1/status", "/api/v1/healthz", "/api/v1/readyz", "/api/v1/openapi.json"),
    *("/api/v1/login", "/api/v1/logout", "/api/v1/me", "/api/v4/event", "/account/me", "/static/../etc/passwd"),
)
_ROUTES_OF = (
    *("/api/v1/alarms/{}", "/api/v1/alarms/{}/steps", "/api/v1/alarms/{}/ack", "/api/v1/alarms/{}/comment"),
    *("/api/v1/alarms/{}/cancel", "/api/v1/entities/{}", "/api/v1/metrics/{}", "/api/v1/metrics/component:host1/{}"),
    *("/api/v1/dead-letters/{}", "/api/v1/dead-letters/{}/replay", "/api/v1/dead-letters/{}/discard", "/{}"),
)
_METHODS = (
    "GET",
    "GET",
    "POST",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "post",
    "BREW",
)
_PARAMETERS = (
    *("limit", "start", "sort", "search", "from", "to", "state", "status", "show", "acked", "tag", "component"),
    *("resource", "entity_id", "connector", "event_type", "type", "id", "atomic", "state_scale", "authkey", "x", ""),
)
_TEXTS = (
    *("", "0", "1", "-1", "1e9", "99999999999999999999999", "NaN", "true", "null", "2,3", ",", "-created", "$where"),
    *("%00", "%ff%fe", "%C3%A9", "%u0041", "%", "%2e%2e%2f", "..%2f..", "a%20b", "%22%3E", "'%20or%201=1--", "-7d"),
    *("2026-02-28T12:00:00Z", "2026-02-28T12:00:00+01:00", "9999999999999999", "resource:host1%2Fdisk", "a" * 2000),
    *("[$ne]=1", "{}", "%F0%9F%92%A9", "(a+)+$", "../../etc/passwd", ";", "&&", "a=b=c", "%25%25%25"),
)
_NAMES = (
    *(
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Range",
        "If-None-Match",
        "If-Modified-Since",
        "Origin",
        "Referer",
    ),
    *("Cookie", "Authorization", "X-Canopsis-Authkey", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"),
    *("Forwarded", "X-Requested-With", "Upgrade", "Connection", "Keep-Alive", "TE", "Trailer", "Via", "Host", "Date"),
    *(
        "Content-Language",
        "Content-MD5",
        "Content-Range",
        "X-HTTP-Method-Override",
        "Script-Name",
        "SCRIPT_NAME",
        "Proxy",
    ),
    *("X y", "X\x00", "Caf\xe9", "", ":", "X-Very-" + "long" * 100, "Sec-WebSocket-Key", "Expect"),
)
_CONTENTS = (
    *(
        b"",
        b"*/*",
        b"gzip, br;q=0",
        b"bytes=0-",
        b"\xff\xfe",
        b"a\0b",
        b"\x7f",
        b"x" * 8000,
        b"127.0.0.1",
        b"::1, unknown",
    ),
    *(
        b"999.1.1.1",
        b"https",
        b"a, b, c",
        b"Basic Og==",
        b"Basic \xff",
        b"Bearer x",
        b'session="\\000"',
        b"session=.a.b",
    ),
    *(
        b"close",
        b"keep-alive, upgrade",
        b"h2c",
        b"websocket",
        b'"etag"',
        b"Thu, 99 Jan",
        b"http://evil/",
        b"()",
        b"\t \t",
    ),
)
_TYPES = (
    *("application/json", "application/json; charset=utf-8", "application/json;charset=UTF-16", "APPLICATION/JSON"),
    *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain"),
    *(
        "application/problem+json",
        "",
        "x",
        'application/json; charset="',
        "application/json;" * 50,
        "a/b/c; =;=",
        "\xff",
    ),
)
_ENCODINGS = ("gzip", "deflate", "br", "identity", "identity, gzip", "x", "", "utf-8", "gzip;q=1", "\xff")
_LINES = (
    *(b"", b"\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n"),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"\0" * 300),
    *(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", b"GET /\xff\xfe HTTP/1.1\r\n\r\n", b"GET  /  HTTP/1.1\r\n\r\n"),
    *(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"GET http://a/api/v1/healthz HTTP/1.1\r\nHost: b\r\n\r\n"),
    *(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b"a" * 20_000, b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\nHost: x\n\n"),
)


@dataclass(frozen=True)
class Request:
    """A request. ``ends``: nothing more comes, and the server is told so at the end of ``data``.

    ``taken`` are the ids of events that must be accepted; None when that is not known.
    """

    number: int
    kind: str
    data: bytes = field(repr=False)
    ends: bool = False
    taken: tuple[str, ...] | None = None

    @property
    def is_head(self) -> bool:
        """Whether its answer has no body."""
        return self.data.startswith(b"HEAD ")

    @property
    def has_head(self) -> bool:
        """Whether it is so much of a request that there is something to answer."""
        return b"\r\n\r\n" in self.data.lstrip(b"\r\n") or b"\n\n" in self.data


@dataclass(frozen=True)
class Draft:
    """A request that is not on the wire yet."""

    method: str
    path: str
    headers: tuple[tuple[str, bytes], ...]
    body: bytes = b""
    version: str = "HTTP/1.1"

    def having(self, *more: tuple[str, bytes]) -> Draft:
        """Return it with more headers."""
        return replace(self, headers=(*self.headers, *more))

    def wire(self) -> bytes:
        """Return it as it stands on the wire."""
        line = f"{self.method} {self.path} {self.version}".encode("latin-1", "replace")
        named = [name.encode("latin-1") + b": " + value for name, value in self.headers]
        return b"\r\n".join([line, *named, b"", b""]) + self.body

    def sized(self) -> bytes:
        """Return it with the length of its body."""
        return self.having(("Content-Length", str(len(self.body)).encode())).wire()


class Requests:
    """Makes requests: the same ones for the same ``seed``. ``key`` is of a user who may send events."""

    def __init__(self, seed: int, key: str) -> None:
        self._bodies = Bodies(seed)
        self._key = key.encode()

    def make(self, number: int) -> Request:
        """Return request ``number``."""
        rng = self._bodies.rng(number, "request")
        return rng.choice(_KINDS)(self, rng, number)

    def draft(
        self, body: bytes = b"", method: str = "POST", path: str = EVENTS, kind: str = "application/json"
    ) -> Draft:
        """Return a request with nothing wrong in it."""
        headers = [("Host", b"test"), ("X-Canopsis-Authkey", self._key)]
        if body or method == "POST":
            headers.append(("Content-Type", kind.encode("latin-1")))
        return Draft(method, path, tuple(headers), body)

    def _plain(self, _rng: Random, number: int) -> Request:
        """Return a body in a request with nothing wrong in it."""
        body = self._bodies.make(number)
        return Request(number, f"plain {body.kind}", self.draft(body.data).sized(), taken=_taken(body))

    def _wishes(self, rng: Random, number: int) -> Request:
        body = self._bodies.make(number)
        path = EVENTS + rng.choice(
            ("?atomic=true", "?atomic=1", "?atomic=maybe", "?atomic=true&atomic=false", "?state_scale=x")
        )
        return Request(number, "wishes", self.draft(body.data, path=path).sized())

    def _classic(self, rng: Random, number: int) -> Request:
        body = self._bodies.make(number)
        form = rng.choice(
            (b"event=" + quote_plus(body.data).encode(), b"a=1&event=" + body.data, b"event=%7B%zz", b"&&==")
        )
        draft = self.draft(form, path=CLASSIC, kind="application/x-www-form-urlencoded")
        return Request(number, "classic", draft.sized())

    def _typed(self, rng: Random, number: int) -> Request:
        draft = self.draft(self._bodies.make(number).data, path=rng.choice((EVENTS, CLASSIC)), kind=rng.choice(_TYPES))
        if rng.random() < 0.6:
            draft = draft.having(("Content-Encoding", rng.choice(_ENCODINGS).encode("latin-1")))
        return Request(number, "typed", draft.sized())

    def _headers(self, rng: Random, number: int) -> Request:
        """Return a good body with headers that are none."""
        more = [(rng.choice(_NAMES), rng.choice(_CONTENTS)) for _ in range(rng.choice((1, 2, 5, 98, 200)))]
        if rng.random() < 0.2:
            more.append(("X-Folded", b"a\r\n b"))
        draft = self.draft(self._bodies.good(rng, number).data).having(*more)
        return Request(number, "headers", draft.sized(), ends=True)

    def _lengths(self, rng: Random, number: int) -> Request:
        """Return a good body whose length is told wrong, twice, or in two ways."""
        body = self._bodies.good(rng, number).data
        size = str(len(body)).encode()
        wrong = (b"-1", b"+" + size, b"0x10", b"", b"many", b"1" * 30, size + b", " + size, b"0", b" " + size, b"\xb2")
        more = [("Content-Length", rng.choice((*wrong, size)))]
        if rng.random() < 0.5:
            more.append(("Content-Length", rng.choice((*wrong, size))))
        if rng.random() < 0.3:
            more.append(
                (
                    "Transfer-Encoding",
                    rng.choice((b"chunked", b"gzip, chunked", b"identity", b"x", b"chunked, chunked")),
                )
            )
        rng.shuffle(more)
        return Request(number, "lengths", self.draft(body).having(*more).wire(), ends=True)

    def _chunked(self, rng: Random, number: int) -> Request:
        body = self._bodies.make(number)
        step = rng.choice((7, 1000, 1 << 16)) if len(body.data) < 10_000 else 1 << 16
        parts = [body.data[at : at + step] for at in range(0, len(body.data), step)]
        data = b"".join(b"%x%s\r\n%s\r\n" % (len(part), rng.choice((b"", b";a=b")), part) for part in parts)
        draft = self.draft(data + b"0\r\n\r\n").having(("Transfer-Encoding", b"chunked"))
        return Request(number, "chunked", draft.wire(), taken=_taken(body))

    def _broken_chunks(self, rng: Random, number: int) -> Request:
        body = self._bodies.good(rng, number).data
        sizes = (
            b"zz",
            b"-1",
            b"",
            b"0x5",
            b"fffffffffffffffff",
            b"%x" % (len(body) + 5),
            b"1",
            b" 5 ",
            b"5;" + b"x" * 9000,
        )
        data = (
            rng.choice(sizes)
            + rng.choice((b"\r\n", b"\n", b""))
            + body
            + rng.choice((b"\r\n0\r\n\r\n", b"\r\n0\r\nX: y", b""))
        )
        draft = self.draft(data).having(
            ("Transfer-Encoding", rng.choice((b"chunked", b"Chunked", b"\tchunked", b"chunked ")))
        )
        return Request(number, "broken chunks", draft.wire(), ends=True)

    def _cut(self, rng: Random, number: int) -> Request:
        """Return a request that ends somewhere."""
        data = self.draft(self._bodies.good(rng, number).data).sized()
        return Request(number, "cut", data[: rng.randrange(len(data))], ends=True)

    def _torn(self, rng: Random, number: int) -> Request:
        data = self.draft(self._bodies.good(rng, number).data).sized()
        return Request(number, "torn", torn(rng, data), ends=True)

    def _noise(self, rng: Random, number: int) -> Request:
        data = rng.choice((*_LINES, rng.randbytes(rng.randrange(3000)), rng.randbytes(40) + b"\r\n\r\n"))
        return Request(number, "noise", data, ends=True)

    def _reading(self, rng: Random, number: int) -> Request:
        """Return a question with parameters of every kind."""
        pairs = [f"{rng.choice(_PARAMETERS)}={rng.choice(_TEXTS)}" for _ in range(rng.choice((0, 1, 1, 2, 6)))]
        path = rng.choice(_ROUTES) + ("?" + "&".join(pairs) if pairs else "")
        return Request(number, "reading", self.draft(method="GET", path=path).wire())

    def _elsewhere(self, rng: Random, number: int) -> Request:
        """Return any method on any address, with any body."""
        path = rng.choice(_ROUTES)
        if rng.random() < 0.6:
            path = rng.choice(_ROUTES_OF).format(rng.choice((*_TEXTS, quote("é/ü", safe=""), "0123456789abcdef" * 2)))
        body = self._bodies.make(number).data
        if len(body) > 1 << 20 or path in (EVENTS, CLASSIC):
            body = b'{"message": "mine"}'
        draft = self.draft(body, rng.choice(_METHODS), path)
        if rng.random() < 0.3:
            draft = replace(draft, headers=draft.headers[:1])
        return Request(number, "elsewhere", draft.sized(), ends=True)

    def _login(self, rng: Random, number: int) -> Request:
        names = (
            b'"admin"',
            b'"\\u0000"',
            b"5",
            b"null",
            b'{"$ne": 1}',
            b'"' + b"x" * 5000 + b'"',
            b'"\xff"',
            b'"some-admin"',
        )
        body = b'{"username": %s, "password": %s}' % (rng.choice(names), rng.choice(names))
        draft = replace(self.draft(body, path="/api/v1/login"), version=rng.choice(("HTTP/1.1", "HTTP/1.0")))
        return Request(number, "login", replace(draft, headers=(draft.headers[0], draft.headers[2])).sized())


def _taken(body: Body) -> tuple[str, ...] | None:
    return body.good if body.kind in ("good", "again", "list") else None


_Make = Callable[[Requests, Random, int], Request]

_KINDS: tuple[_Make, ...] = (
    *([Requests._plain] * 30),
    *([Requests._wishes, Requests._typed, Requests._headers, Requests._lengths, Requests._chunked] * 4),
    *([Requests._classic, Requests._broken_chunks, Requests._cut, Requests._torn, Requests._elsewhere] * 4),
    *([Requests._reading, Requests._noise] * 4),
    *([Requests._login] * 1),
)
