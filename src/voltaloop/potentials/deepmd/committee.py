"""A committee of frozen DeePMD-kit models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voltaloop.potentials.blocks import Evaluator
from voltaloop.potentials.deepmd.plugin import find_plugin, mean_commands
from voltaloop.potentials.deepmd.program import find_program
from voltaloop.potentials.deepmd.server import ServedModel
from voltaloop.potentials.models import Model, ModelCommittee

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case

GRAPH = "graph"
"""The array of a model that holds the bytes of its frozen graph."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DeepmdCommittee(ModelCommittee):
    """dp: as the option ``dp``, where the program is that evaluates the models."""

    dp: str | None = None

    def open(self, model: Model) -> Evaluator:
        return ServedModel(find_program(self.dp), model[GRAPH].tobytes())

    def attach(self, lmp: Lammps, folder: Path) -> Callable[[], None]:
        """By DeePMD-kit's own pair style where its plugin fits this LAMMPS, else by callback."""
        plugin = find_plugin(find_program(self.dp))
        if plugin is None:
            return super().attach(lmp, folder)
        plugin.load(lmp)
        graphs = [folder / f"model-{index}.pb" for index in range(len(self.models))]
        for graph, model in zip(graphs, self.models, strict=True):
            graph.write_bytes(model[GRAPH].tobytes())
        lmp.commands_list(mean_commands(graphs, self.species))
        return _no_error


def _no_error() -> None:
    """LAMMPS itself reports what goes wrong in its own pair styles."""
