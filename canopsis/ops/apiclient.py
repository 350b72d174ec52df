"""The API of the site, asked over HTTP with the key in ``etc/client.conf``."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from canopsis.errors import SiteError
from canopsis.ops.config import ClientSettings

PREFIX = "/api/v1"

_SAFE = "%/?&=:,;+@!$'()*~[]"
_HEADER = "X-Canopsis-Authkey"
_JSON = "application/json"


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
    """The way to the API, a connection a call; not to be shared by threads."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._parts = urlsplit(settings.url)

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
        target = quote(self._parts.path + path, safe=_SAFE) + (f"?{urlencode(given, doseq=True)}" if given else "")
        headers = {_HEADER: self._settings.authkey, "Accept": _JSON}
        if body is not None:
            headers["Content-Type"] = content_type
        answer = self._ask(method, target, body, headers)
        if answer.status == http.client.UNAUTHORIZED:
            raise SiteError(f"{self._settings.url} refuses the authkey in {self._settings.source}: {answer.problem()}")
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

    def _connect(self) -> http.client.HTTPConnection:
        host, port, timeout = self._parts.hostname or "", self._parts.port, self._settings.timeout
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            context = ssl.create_default_context(cafile=self._settings.ca_file or None)
        except OSError as error:
            where = f"{self._settings.url}: ca_file {self._settings.ca_file} in {self._settings.source}"
            raise SiteError(f"{where} cannot be read: {error.strerror or error}") from None
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _ask(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        where, connection = self._settings.url, self._connect()
        try:
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            content = response.read()
        except TimeoutError:
            raise SiteError(f"{where} gave no answer in {self._settings.timeout:g} s; {_NEXT}") from None
        except ssl.SSLError as error:
            raise SiteError(f"{where}: {error}; see ca_file in {self._settings.source}") from None
        except (OSError, http.client.HTTPException) as error:
            raise SiteError(f"no API at {where} ({_reason(error)}); {_NEXT}") from None
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
