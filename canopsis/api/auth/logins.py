"""Names and passwords, however they come: who they are of, and how often somebody may guess."""

from __future__ import annotations

from canopsis.api.auth import unauthorized
from canopsis.api.auth.passwords import verify
from canopsis.api.auth.throttle import Throttle
from canopsis.api.ports import Database
from canopsis.store import users
from canopsis.store.users import User


class Logins:
    """Checks passwords. What was wrong counts for all providers together."""

    def __init__(self, database: Database) -> None:
        self._ask = database.ask
        self._throttle = Throttle(database)

    def check(self, name: str, password: str, address: str, challenge: str) -> User:
        """Return the user of a name and a password that come from ``address``.

        Raises RequestError: 401, with ``challenge``, for a wrong name or password or a disabled user, 429 after too
        many of them, 503 for too many at once. Raises StoreError.
        """
        self._throttle.check(name, address)
        user = self._ask(users.get, name)
        right = verify(user.password if user else "", password)
        # Once more: of many that came at once, those after the first wrong ones learn nothing.
        self._throttle.check(name, address)
        if user is None or not right or not user.enabled:
            self._throttle.failed(name, address)
            raise unauthorized("the name or the password is wrong, or the account is disabled", challenge)
        self._throttle.succeeded(name, address)
        return user
