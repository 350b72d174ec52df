"""The API of the site, asked over HTTP with the key in ``etc/client.conf``: the first web server that answers."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from canopsis.errors import SiteError
from canopsis.ops.config import ClientSettings

PREFIX = "/api/v1"

_SAFE = "%/?&=:,;+@!$'()*~[]"
_HEADER = "X-Canopsis-Authkey"
_JSON = "application/json"
_CONNECT_TIMEOUT = 5.0
"""Seconds to connect where there is another web server to ask."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered. ``retry_after`` is in seconds, 0 when it does not say."""

    status: int
    reason: str
    content: bytes
    content_type: str = _JSON
    retry_after: float = 0.0

    @property
    def good(self) -> bool:
        """Whether the request was done."""
        return self.status < http.client.BAD_REQUEST

    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        """Return the content. Raises SiteError when it is not JSON (something else answers there)."""
        try:
            return json.loads(self.content)
        except ValueError:
            raise SiteError(
                f"the answer ({self.status} {self.reason}) is not JSON: is another program at this URL?"
            ) from None

    def problem(self) -> str:
        """Return why the request was not done, as the API says it."""
        try:
            found = json.loads(self.content)
        except ValueError:
            found = None
        detail = found.get("detail") if isinstance(found, dict) else None
        return f"{self.status} {self.reason}: {detail}" if detail else f"{self.status} {self.reason}"


class Api:
    """The way to the API, a connection a call; not to be shared by threads. Who answered is asked first again."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._urls = list(settings.urls)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: Mapping[str, object] | None = None,
        content_type: str = _JSON,
    ) -> Answer:
        """Return the answer, whatever its status. ``query`` leaves out values that are None.

        Raises SiteError when nobody answers in time, or the key is refused.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = quote(path, safe=_SAFE) + (f"?{urlencode(given, doseq=True)}" if given else "")
        headers = {_HEADER: self._settings.authkey, "Accept": _JSON}
        if body is not None:
            headers["Content-Type"] = content_type
        answer = self._ask(method, target, body, headers)
        if answer.status == http.client.UNAUTHORIZED:
            raise SiteError(f"{self._urls[0]} refuses the authkey in {self._settings.source}: {answer.problem()}")
        return answer

    def data(
        self, method: str, path: str, body: bytes | None = None, *, query: Mapping[str, object] | None = None
    ) -> Any:  # noqa: ANN401
        """Return the ``data`` of an answer. Raises SiteError when the request was not done."""
        answer = self.call(method, path, body, query=query)
        if not answer.good:
            raise SiteError(f"{method} {path}: {answer.problem()}")
        found = answer.json()
        return found["data"] if isinstance(found, dict) and "data" in found else found

    def silent(self) -> dict[str, str]:
        """Return which web servers take no connection, and why; who answered last is not asked again."""
        found = {}
        for url in self._urls[1:]:
            try:
                self._connected(url).close()
            except SiteError as error:
                # What to do is the same for all of them, and said by who asks.
                found[url] = str(error).removesuffix(f"; {_NEXT}")
        return found

    def _new_connection(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host, port, timeout = parts.hostname or "", parts.port, self._settings.timeout
        if len(self._urls) > 1:
            timeout = min(timeout, _CONNECT_TIMEOUT)
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            context = ssl.create_default_context(cafile=self._settings.ca_file or None)
        except OSError as error:
            where = f"{url}: ca_file {self._settings.ca_file} in {self._settings.source}"
            raise SiteError(f"{where} cannot be read: {error.strerror or error}") from None
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _connected(self, url: str) -> http.client.HTTPConnection:
        """Return a connection that is made. Raises SiteError."""
        connection = self._new_connection(url)
        with self._errors(url, connection.timeout or self._settings.timeout):
            connection.connect()
        connection.sock.settimeout(self._settings.timeout)
        return connection

    def _any(self) -> tuple[str, http.client.HTTPConnection]:
        """Return the first web server that takes a connection, and that. Raises SiteError naming all that do not.

        Nothing was sent then: only so is another one asked, for who got a request may have done it.
        """
        failures = []
        for url in tuple(self._urls):
            try:
                connection = self._connected(url)
            except SiteError as error:
                failures.append(str(error))
                continue
            self._urls.sort(key=lambda each: each != url)
            return url, connection
        raise SiteError("; ".join(failures))

    @contextmanager
    def _errors(self, where: str, timeout: float) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise SiteError(f"{where} gave no answer in {timeout:g} s; {_NEXT}") from None
        except ssl.SSLError as error:
            raise SiteError(f"{where}: {error}; see ca_file in {self._settings.source}") from None
        except (OSError, http.client.HTTPException) as error:
            raise SiteError(f"no API at {where} ({_reason(error)}); {_NEXT}") from None

    def _ask(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        where, connection = self._any()
        try:
            with self._errors(where, self._settings.timeout):
                connection.request(method, quote(urlsplit(where).path, safe=_SAFE) + target, body, dict(headers))
                response = connection.getresponse()
                content = response.read()
        finally:
            connection.close()
        return Answer(
            response.status, response.reason, content, response.headers.get_content_type(), _seconds(response)
        )


_NEXT = "see: service webserver status"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__


def _seconds(response: http.client.HTTPResponse) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0
