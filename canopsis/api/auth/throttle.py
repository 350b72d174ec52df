"""After some wrong passwords the next one has to wait: on the whole site, whichever process is asked."""

from __future__ import annotations

import hashlib
import math

from canopsis.api.ports import Database
from canopsis.errors import RequestError
from canopsis.store import attempts
from canopsis.store.attempts import Found, Rule

PAIR = Rule(free=5, longest=300.0)
"""An account from one address."""

ACCOUNT = Rule(free=10, longest=30.0)
"""An account from anywhere. It slows guesses from many addresses; an address that is known does not wait for them."""

ADDRESS = Rule(free=20, longest=30.0)
"""An address, whatever the account: many people may share one, so the waits are short."""


class Throttle:
    """Counts wrong passwords by account and address together, and by each alone."""

    def __init__(self, database: Database) -> None:
        self._ask = database.ask

    def check(self, name: str, address: str) -> None:
        """Raise RequestError (429) while the next attempt has to wait. Raises StoreError."""
        keys = [_key("pair", name, address), _key("account", name), _key("address", address)]
        known = _key("known", name, address)
        found = self._ask(attempts.find, [*keys, known])
        if known in found:
            del keys[1:]
        longest = max((found.get(key, Found()) for key in keys), key=lambda each: each.wait)
        if longest.wait > 0:
            raise _wait(longest)

    def failed(self, name: str, address: str) -> None:
        """Count a wrong password. Raises RequestError (429) when it had to wait: then it says nothing."""
        if not self._ask(attempts.failed, _key("pair", name, address), PAIR):
            raise _wait(Found(PAIR.free, 1.0))
        self._ask(attempts.failed, _key("account", name), ACCOUNT)
        self._ask(attempts.failed, _key("address", address), ADDRESS)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the wrong passwords of an account from an address, and know that address."""
        self._ask(attempts.forget, _key("pair", name, address))
        self._ask(attempts.remember, _key("known", name, address))


def _wait(found: Found) -> RequestError:
    seconds = math.ceil(found.wait)
    detail = f"{found.count} wrong passwords: try again in {seconds} s"
    return RequestError(429, detail, headers={"Retry-After": str(seconds)})


def _key(*parts: str) -> str:
    """Return a key of bounded length that tells nothing: a password is typed as a name now and then."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
