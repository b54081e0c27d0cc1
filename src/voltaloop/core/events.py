"""What happens in a campaign, and what is to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voltaloop.core.hashing import digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a campaign.

    seq: 1, 2, 3 … without gaps; time: seconds since 1970, UTC; kind: what happened, at most 64
    characters; data: JSON.
    """

    seq: int
    time: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A calculation to run: a Doer by name, the pool it runs in, its inputs (JSON).

    ``version`` is the Doer's: raise it when the same inputs give another result.
    """

    function: str
    version: int
    pool: str
    inputs: Mapping[str, Any]
    title: str

    @property
    def id(self) -> str:
        """SHA-256 of what is computed: the same calculation has the same id everywhere."""
        return digest_of(
            {"function": self.function, "version": self.version, "inputs": self.inputs}
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "function": self.function,
            "version": self.version,
            "pool": self.pool,
            "inputs": dict(self.inputs),
            "title": self.title,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Task:
        keys = ("function", "version", "pool", "inputs", "title")
        return cls(**{key: data[key] for key in keys})
