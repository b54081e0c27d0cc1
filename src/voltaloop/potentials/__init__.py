"""Force fields that learn."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from voltaloop.core import FloatArray, Registry
from voltaloop.core.contracts import Committee
from voltaloop.core.training import Example, Memo, Previous, Trained


class Potential(Protocol):
    """A potential that can be trained, built from its settings."""

    def check_installed(self) -> None:
        """Raise MissingDependencyError with the pip line when a package is missing."""

    def executes(self) -> list[str]:
        """What of the settings is run as a program or imported as code, for people to read."""

    def train(
        self,
        species: Sequence[str],
        examples: Sequence[Example],
        memo: Memo,
        previous: Previous | None = None,
    ) -> Trained:
        """Fit a committee to all examples, going on from ``previous`` where the engine can.

        Raises ValueError for too few examples and for labels that are not finite.
        """

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> Committee:
        """A committee from what its ``to_json`` and ``to_arrays`` gave."""


class PotentialClass(Protocol):
    """The class of a potential: its settings model, and a constructor that takes one.

    NOTICE: what a user must know before using it, such as the terms of a licence; mostly empty.
    BRIEF: options that make a training as brief as possible, to see whether it works at all.
    """

    Settings: ClassVar[type[BaseModel]]
    NOTICE: ClassVar[str]
    BRIEF: ClassVar[Mapping[str, Any]]

    def __call__(self, settings: Any, /) -> Potential: ...


POTENTIALS: Registry[PotentialClass] = Registry(
    kind="potential",
    builtin={
        "chgnet": "voltaloop.potentials.chgnet:ChgnetPotential",
        "deepmd": "voltaloop.potentials.deepmd:DeepmdPotential",
        "gap": "voltaloop.potentials.gap:Gap",
        "mace": "voltaloop.potentials.mace:Mace",
        "pod": "voltaloop.potentials.pod:Pod",
    },
)

__all__ = ["POTENTIALS", "Potential", "PotentialClass"]
