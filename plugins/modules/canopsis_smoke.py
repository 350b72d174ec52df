#!/usr/bin/python
"""Try a site: an event in, its alarm out."""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: canopsis_smoke
short_description: Send an event, read its alarm, close it
description:
  - Posts an event through each URL and waits until its alarm is seen through all of them, then brings it to OK.
  - Changes nothing of the site's configuration; in check mode it only looks whether the API answers.
options:
  urls: {description: The web hosts., type: list, elements: str, required: true}
  authkey: {description: Key for the API., type: str, required: true}
  tls_ca: {description: File with the trusted CAs; empty for those of the host., type: str, default: ""}
  timeout: {description: Seconds that an event may take., type: float, default: 60}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Try the site
  canopsis_smoke:
    urls: ["http://127.0.0.1:8082"]
    authkey: "{{ webserver_admin_authkey }}"
"""

RETURN = r"""
seconds:
  description: How long the slowest event took to be seen as an alarm, by URL.
  type: dict
  returned: always
"""

COMPONENT = "canopsis-smoke"
OK, CRITICAL = 0, 2
ARGUMENTS: dict[str, Any] = {
    "urls": {"type": "list", "elements": "str", "required": True},
    "authkey": {"type": "str", "required": True, "no_log": True},
    "tls_ca": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 60},
}


class FailedError(Exception):
    """The site does not do what it should; the text says what and where to look."""


class Site:
    """The API of a site through one of its web hosts."""

    def __init__(self, url: str, authkey: str, tls_ca: str = "") -> None:
        self.url = url
        self.authkey = authkey
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if url.startswith("https:"):
            context = ssl.create_default_context(cafile=tls_ca or None)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever the answer is
        """Return the answer. Raises OSError when there is none, or a refusal."""
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method)  # noqa: S310 - a URL of the inventory
        request.add_header("X-Canopsis-Authkey", self.authkey)
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        with self._opener.open(request, data=data, timeout=10) as answer:
            return json.loads(answer.read())

    def send(self, resource: str, state: int) -> None:
        """Post a check of ``resource``."""
        self.call("POST", "/events", _event(resource, state))

    def states(self, resource: str) -> list[int]:
        """Return the states of the alarms of ``resource``."""
        query = urllib.parse.urlencode({"component": COMPONENT, "resource": resource, "show": "all", "limit": 1})
        return [alarm["state"] for alarm in self.call("GET", f"/alarms?{query}")["data"]]


def _event(resource: str, state: int) -> dict[str, Any]:
    return {
        "event_type": "check",
        "connector": "canopsis",
        "connector_name": "smoke",
        "component": COMPONENT,
        "resource": resource,
        "state": state,
        "output": "the deployment tries the site",
    }


def await_state(site: Site, resource: str, state: int, deadline: float) -> str:
    """Wait until the alarm of ``resource`` has ``state``; return why it has not, or an empty text."""
    pause, why = threading.Event(), ""
    while True:
        try:
            found = site.states(resource)
        except OSError as error:
            why = str(error)
        else:
            if found and found[0] == state:
                return ""
            why = f"its alarm has state {found[0]}" if found else "it has no alarm"
        if time.monotonic() >= deadline:
            return why
        pause.wait(0.1)


def post(site: Site, resource: str, state: int, deadline: float) -> None:
    """Post a check; a site that is just starting may answer that it cannot yet. Raises FailedError."""
    pause = threading.Event()
    while True:
        try:
            site.send(resource, state)
            return
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() >= deadline:
                raise FailedError(
                    f"{site.url} refuses an event: {error.code} {error.read().decode(errors='replace')[:200]}"
                ) from error
        except OSError as error:
            if time.monotonic() >= deadline:
                raise FailedError(f"{site.url} takes no event: {error}; see var/log/webserver.log") from error
        pause.wait(0.2)


def attempt(sites: list[Site], sender: Site, timeout: float) -> float:
    """Open and close an alarm through ``sender``, seen through all; return the seconds. Raises FailedError."""
    resource = urllib.parse.urlsplit(sender.url).netloc
    seconds = 0.0
    for state in (CRITICAL, OK):
        begin = time.monotonic()
        post(sender, resource, state, begin + timeout)
        for site in sites:
            why = await_state(site, resource, state, begin + timeout)
            if why:
                raise FailedError(
                    f"an event with state {state} sent through {sender.url} is not seen through {site.url} after "
                    f"{timeout:g} s: {why}; see bin/canopsis status and var/log/engines/"
                )
        seconds = max(seconds, time.monotonic() - begin)
    return seconds


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        sites = [Site(url, params["authkey"], params["tls_ca"]) for url in params["urls"]]
        if module.check_mode:
            for site in sites:
                site.states("none")
            module.exit_json(changed=False, seconds={})
        seconds = {site.url: round(attempt(sites, site, params["timeout"]), 3) for site in sites}
    except (FailedError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, seconds=seconds)


if __name__ == "__main__":
    main()
