"""What only the broker's own command knows, asked on a host that runs a broker of ours."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from canopsis.errors import SiteError
from canopsis.ops import config
from canopsis.ops.model import AMQP
from canopsis.ops.prefix import Prefix

_TIMEOUT = 20.0
_COLUMNS = ("name", "messages", "messages_ready", "messages_unacknowledged")


def list_queues(prefix: Prefix) -> list[dict[str, Any]]:
    """Return the queues of the site with their counts; none where the broker is not of our packages.

    Raises SiteError when the broker does not answer its command.
    """
    command = prefix.path / "bin" / "rabbitmqctl"
    if not command.exists():
        return []
    vhost = config.look(prefix, AMQP).sections.get("master", {}).get("virtual_host", "canopsis")
    arguments = [str(command), "--quiet", "list_queues", "-p", str(vhost), *_COLUMNS, "--formatter", "json"]
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=_TIMEOUT, check=False)
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise SiteError(f"rabbitmqctl does not answer within {_TIMEOUT:g} s; see var/log/rabbitmq/") from None
    except (OSError, ValueError):
        raise SiteError("rabbitmqctl cannot list the queues; see var/log/rabbitmq/") from None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
