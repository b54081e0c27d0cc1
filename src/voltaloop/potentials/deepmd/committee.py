"""A committee of frozen DeePMD-kit models."""

from __future__ import annotations

from dataclasses import dataclass

from voltaloop.potentials.blocks import Evaluator
from voltaloop.potentials.deepmd.program import find_program
from voltaloop.potentials.deepmd.server import ServedModel
from voltaloop.potentials.models import Model, ModelCommittee

GRAPH = "graph"
"""The array of a model that holds the bytes of its frozen graph."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DeepmdCommittee(ModelCommittee):
    """dp: as the option ``dp``, where the program is that evaluates the models."""

    dp: str | None = None

    def open(self, model: Model) -> Evaluator:
        return ServedModel(find_program(self.dp), model[GRAPH].tobytes())
