"""Once for all unit tests: Ansible's plugins can be found, and how much hypothesis may do."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader
from hypothesis import HealthCheck, settings

# Without it Ansible finds no lookup, and a variable that needs one passes as one that is not given.
init_plugin_loader()

# Enough to find things, bounded so that the run stays short; without a clock, for the machine may be busy.
settings.register_profile(
    "unit", deadline=None, database=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")
