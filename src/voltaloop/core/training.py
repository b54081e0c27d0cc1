"""What goes into the training of a potential and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from voltaloop.core.contracts import Committee
from voltaloop.core.frame import FloatArray, Frame, Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A labelled frame; ``key`` identifies it among all examples of a campaign."""

    key: str
    frame: Frame
    label: Label


class Memo(Protocol):
    """A cache of arrays by the hash of what was computed; may forget at any time."""

    def memo_get(self, key: str) -> Mapping[str, Any] | None:
        """The arrays kept under ``key``, or None."""

    def memo_put(self, key: str, **arrays: Any) -> None:
        """Keep arrays under ``key``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """What the last training of a campaign gave, to go on from."""

    hyperparameters: Mapping[str, float]
    committee: Committee


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How one member learned, from the engine's own log.

    axis: what is counted ("step", "epoch", "try"); columns: sequences of one length: "axis" the
    counts, and of "loss", "energy" (eV/atom), "force" (eV/Å), "stress" (eV/Å3) those that the
    engine tells, errors as root mean squares on what it trains on; the same with "held_out_" before
    them on what it does not. NaN is None.
    """

    member: int
    axis: str
    columns: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A committee, its held-out errors, the hyperparameters chosen and how the members learned.

    descriptors: (n_examples, d) mean descriptor of every example, as its predictions give them.
    held_out: root mean squares "energy" (eV/atom), "force" (eV/Å) and, where there were stresses,
    "stress" (eV/Å3), of frames predicted by members that had not seen them.
    """

    committee: Committee
    descriptors: FloatArray
    held_out: Mapping[str, float]
    hyperparameters: Mapping[str, float]
    curves: Sequence[Curve] = ()
