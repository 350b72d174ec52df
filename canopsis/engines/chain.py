"""The chain of a site that configures nothing, made of the places that engines declare."""

from __future__ import annotations

from canopsis.engines.registry import own
from canopsis.runtime.manifest import placed
from canopsis.runtime.settings import ChainSettings, EngineSettings


def default_chain(partitions: int = 8, beat_interval: float = 60.0) -> ChainSettings:
    """Return the default chain."""
    engines = [
        EngineSettings(manifest.name, manifest.place.process, following, manifest.place.beat_interval or beat_interval)
        for manifest, following in placed(own().values())
        if manifest.place is not None
    ]
    return ChainSettings(tuple(engines), partitions)
