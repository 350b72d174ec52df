"""The web services, one module each: its name is that of the service in ``[webservices]`` of ``webserver.conf``.

A module that is put here is served: ``app`` takes every ``Resource`` that it declares. Nothing is imported to know the
names: commands and configuration ask for them too.
"""

from __future__ import annotations

import pkgutil

SERVICES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
"""The web services that ``[webservices]`` turns on and off; one that is not named there is on."""
