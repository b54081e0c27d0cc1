"""The retry ladder: what to try when an engine could not label a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One more try, with some of the engine's options changed.

    name: what is tried, in words; reasons: the failures it may help against (of
    ``FAILURE_REASONS``); options: merged into the engine's own, mappings key by key.

    A rung may change how an engine finds its answer (mixing, initial moments, iterations), not
    which answer it is asked for (functional, cutoff): labels of all rungs enter one training set.
    """

    name: str
    reasons: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def applied_to(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The engine's options for this try."""
        return _merged(options, self.options)


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = base.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged
