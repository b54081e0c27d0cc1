"""Force fields that learn."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from voltaloop.core import FloatArray, Registry
from voltaloop.core.contracts import Committee
from voltaloop.core.training import Example, Memo, Trained


class Potential(Protocol):
    """A potential that can be trained, built from its settings."""

    def check_installed(self) -> None:
        """Raise MissingDependencyError with the pip line when a package is missing."""

    def train(
        self,
        species: Sequence[str],
        examples: Sequence[Example],
        memo: Memo,
        previous: Mapping[str, float] | None = None,
    ) -> Trained:
        """Fit a committee to all examples; ``previous``: the last hyperparameters."""

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> Committee:
        """A committee from what its ``to_json`` and ``to_arrays`` gave."""


class PotentialClass(Protocol):
    """The class of a potential: its settings model, and a constructor that takes one."""

    Settings: ClassVar[type[BaseModel]]

    def __call__(self, settings: Any, /) -> Potential: ...


POTENTIALS: Registry[PotentialClass] = Registry(
    kind="potential", builtin={"pod": "voltaloop.potentials.pod:Pod"}
)

__all__ = ["POTENTIALS", "Potential", "PotentialClass"]
