"""The list of detectors: one row each, declared by the family (one file) that implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primitives.settings import shipped


@dataclass(frozen=True, slots=True)
class Detector:
    """`line` is the definition in one sentence; `severity` is info | low | medium | high."""

    name: str
    family: str
    severity: str
    line: str

    @property
    def thresholds(self) -> dict[str, Any]:
        """As shipped in configs/default.yaml."""
        return dict(shipped("default")["detectors"].get(self.name) or {})


DETECTORS: dict[str, Detector] = {}


def declare(family: str, name: str, severity: str, line: str) -> Detector:
    """Put a detector on the list and return it."""
    DETECTORS[name] = Detector(name, family, severity, line)
    return DETECTORS[name]


class UnknownThreshold(ValueError):
    """A detector or a threshold is named that does not exist."""


def thresholds(changes: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """Thresholds of every detector as shipped, with `changes` {detector: {name: value}} laid over them.

    `enabled: false` switches a detector off. Raises UnknownThreshold.
    """
    merged = {name: {"enabled": True, **detector.thresholds} for name, detector in DETECTORS.items()}
    for name, values in (changes or {}).items():
        if name not in merged:
            raise UnknownThreshold(f"there is no detector {name!r}; there are {', '.join(sorted(merged))}")
        for key, value in values.items():
            if key not in merged[name]:
                raise UnknownThreshold(f"detector {name} has no threshold {key!r}; it has {', '.join(merged[name])}")
            merged[name][key] = value
    return merged
