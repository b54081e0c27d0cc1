"""What happens in a campaign, and what is to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voltaloop.core.hashing import digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a campaign.

    seq: 1, 2, 3 … without gaps; time: seconds since 1970, UTC; kind: what happened, at most 64
    characters; data: JSON; text: the same as canonical JSON, where it was made already.
    """

    seq: int
    time: float
    kind: str
    data: Mapping[str, Any]
    text: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A calculation to run: a Doer by name, the pool it runs in, its inputs (JSON).

    ``version`` is the Doer's: raise it when the same inputs give another result. ``id``: SHA-256 of
    what is computed, so that the same calculation has the same id everywhere.
    """

    function: str
    version: int
    pool: str
    inputs: Mapping[str, Any]
    title: str
    id: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        what = {"function": self.function, "version": self.version, "inputs": self.inputs}
        object.__setattr__(self, "id", digest_of(what))

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
