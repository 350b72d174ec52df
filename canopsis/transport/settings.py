"""Where the brokers are and who we are to them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AmqpSettings:
    """The brokers of a site. Times are in seconds.

    ``hosts`` are (name or address, port); any of them will do. ``heartbeat`` is asked for and may
    be lowered by the broker. ``write_timeout`` is how long a broker that does not read (memory or
    disk alarm) may hold a writer up before the connection is given up.
    ``queue_type`` is what our queues are declared as: ``quorum``, or ``classic`` for mirroring by policy.
    """

    hosts: tuple[tuple[str, int], ...] = (("127.0.0.1", 5672),)
    vhost: str = "canopsis"
    user: str = "guest"
    password: str = field(default="", repr=False)
    heartbeat: float = 30.0
    connect_timeout: float = 5.0
    write_timeout: float = 30.0
    tls: bool = False
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    queue_type: str = "quorum"

    @property
    def trusting(self) -> str:
        """What errors say of TLS, with the file of trusted authorities; empty without TLS."""
        return f" over TLS, trusting {self.ca_file or 'the authorities of this host'}" if self.tls else ""

    def ssl_options(self) -> dict[str, object] | bool:
        """Return what kombu wants as ``ssl``: False, or options that verify name and chain."""
        if not self.tls:
            return False
        options: dict[str, object] = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
        files = {"ca_certs": self.ca_file, "certfile": self.certificate_file, "keyfile": self.key_file}
        return options | {name: path for name, path in files.items() if path}
