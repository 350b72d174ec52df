"""How much hypothesis may do in a unit run: enough to find things, bounded so that the run stays short."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit", deadline=None, database=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")
