"""Finished steps are kept by the hash of what they are made from, so that none is done twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from voltaloop.core import digest_of
from voltaloop.store import ArtifactStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a step gave: facts (JSON) and named arrays."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Finished steps in an artifact store."""

    store: ArtifactStore

    def has(self, what: Any) -> bool:
        """Whether the step made from ``what`` (JSON) is done."""
        return self.store.results_get(digest_of(what)) is not None

    def once(self, what: Any, make: Callable[[], Step]) -> Step:
        """The step made from ``what`` (JSON): from the shelf, or made now and put there."""
        key = digest_of(what)
        found = self.store.results_get(key)
        if found is None:
            made = make()
            found = {"facts": made.facts, "arrays": self.store.put_arrays(**made.arrays)}
            self.store.results_put(key, found)
        return Step(facts=found["facts"], arrays=self.store.get_arrays(found["arrays"]))
