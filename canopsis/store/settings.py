"""Where the database is, who we are to it, and how long documents are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

DAY = 86400


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The replica set of a site. Times are in seconds.

    ``timeout`` bounds one operation with all its retries, ``selection_timeout`` the search for a
    primary within it.
    """

    hosts: tuple[tuple[str, int], ...] = (("127.0.0.1", 27017),)
    replica_set: str = "canopsis"
    database: str = "canopsis"
    user: str = ""
    password: str = field(default="", repr=False)
    auth_source: str = "admin"
    timeout: float = 10.0
    selection_timeout: float = 5.0
    connect_timeout: float = 3.0
    pool_size: int = 20
    tls: bool = False
    ca_file: str = ""
    certificate_key_file: str = ""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long documents are kept, in seconds. The values of events live on in hourly documents."""

    events: int = 30 * DAY
    metrics_hourly: int = 400 * DAY
    dead_letters: int = 30 * DAY
