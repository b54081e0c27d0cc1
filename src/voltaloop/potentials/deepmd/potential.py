"""The potential ``deepmd``: members trained one after the other by ``dp``.

DeePMD-kit: https://doi.org/10.1063/5.0155600, the descriptor se_e2_a:
https://arxiv.org/abs/1805.09003.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from voltaloop.core import FloatArray
from voltaloop.core.deepmd_npy import write_deepmd
from voltaloop.core.training import Curve, Example, Memo, Previous, Trained
from voltaloop.potentials.blocks import (
    check_examples,
    held_out_errors,
    held_out_from,
    learned_by,
)
from voltaloop.potentials.deepmd.committee import GRAPH, DeepmdCommittee
from voltaloop.potentials.deepmd.curves import read_curve
from voltaloop.potentials.deepmd.inputs import (
    CURVE_FILE,
    Systems,
    has_fixed_sel,
    model_section,
    most_neighbours,
    neighbours,
    training_input,
)
from voltaloop.potentials.deepmd.program import Program, find_program
from voltaloop.potentials.deepmd.server import server_of
from voltaloop.potentials.deepmd.settings import DeepmdSettings
from voltaloop.potentials.models import Model, descriptors_of, file_as_array

FROZEN = "frozen.pb"


@dataclass(frozen=True, slots=True)
class DeepmdPotential:
    """Deep potentials of DeePMD-kit; see :class:`DeepmdSettings`."""

    Settings: ClassVar[type[DeepmdSettings]] = DeepmdSettings
    NOTICE: ClassVar[str] = ""
    BRIEF: ClassVar[Mapping[str, Any]] = {"members": 2, "steps": 20, "retrain_steps": 20}

    settings: DeepmdSettings

    def check_installed(self) -> None:
        find_program(self.settings.dp)

    def executes(self) -> list[str]:
        """The program, as the settings name it."""
        return [self.settings.dp or "dp"]

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> DeepmdCommittee:
        return replace(DeepmdCommittee.load(meta, arrays), dp=self.settings.dp)

    def train(
        self,
        species: Sequence[str],
        examples: Sequence[Example],
        memo: Memo,
        previous: Previous | None = None,
    ) -> Trained:
        """Train every member on all blocks but its own; it goes on from its last model where that
        has the same nets. Raises DeepmdError with dp's last lines when it fails."""
        settings = self.settings
        check_examples(examples, settings.members, "deepmd")
        program = find_program(settings.dp)
        start = self._start(species, examples, previous)
        members = [
            self._member(program, member, species, examples, start)
            for member in range(settings.members)
        ]
        committee = DeepmdCommittee(
            species=tuple(species),
            models=tuple(graph for graph, _ in members),
            meta={"model": start.model, "sel": start.sel, "version": program.version},
            dp=settings.dp,
        )
        return Trained(
            committee=committee,
            descriptors=descriptors_of(examples, species, memo),
            held_out=held_out_errors(committee.evaluators, examples),
            hyperparameters={},
            curves=[curve for _, curve in members],
        )

    def _start(
        self, species: Sequence[str], examples: Sequence[Example], previous: Previous | None
    ) -> _Start:
        """The nets, and the last models where these have the same ones."""
        last = previous.committee if previous else None
        if not isinstance(last, DeepmdCommittee) or len(last.models) != self.settings.members:
            last = None
        sel = self._sel(species, examples, last)
        model = model_section(self.settings, species, sel)
        goes_on = last is not None and last.meta["model"] == model and has_fixed_sel(model)
        return _Start(sel=sel, model=model, graphs=last.models if last and goes_on else None)

    def _sel(
        self, species: Sequence[str], examples: Sequence[Example], last: DeepmdCommittee | None
    ) -> list[int]:
        """Those of the last committee while they suffice: other ones would make other nets."""
        if self.settings.sel is None and last is not None and last.species == tuple(species):
            most = most_neighbours(self.settings.rcut, species, examples)
            kept: list[int] = last.meta["sel"]
            if all(enough >= count for enough, count in zip(kept, most, strict=True)):
                return kept
        return neighbours(self.settings, species, examples)

    def _member(
        self,
        program: Program,
        member: int,
        species: Sequence[str],
        examples: Sequence[Example],
        start: _Start,
    ) -> tuple[Model, Curve]:
        members = self.settings.members
        with TemporaryDirectory(prefix="voltaloop-deepmd-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            learned = learned_by(examples, member, members)
            held_out = held_out_from(examples, member, members)
            systems = Systems(
                learned=_written(learned, folder, "learned", species),
                held_out=_written(held_out, folder, "held_out", species),
                n_held_out=len(held_out),
            )
            content = training_input(
                self.settings, start.model, systems, member, goes_on=start.graphs is not None
            )
            (folder / "input.json").write_text(json.dumps(content, indent=1))
            program.run("train", *start.arguments(member, folder), "input.json", folder=folder)
            program.run("freeze", "-o", FROZEN, folder=folder)
            server_of(program).tidy(folder / FROZEN)
            density = float(np.mean([len(e.frame) / e.frame.volume for e in learned]))
            curve = read_curve(folder / CURVE_FILE, member, density)
            return {GRAPH: file_as_array(folder / FROZEN)}, curve


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """sel: neighbours of each species; model: the nets; graphs: what training goes on from."""

    sel: list[int]
    model: Mapping[str, Any]
    graphs: Sequence[Model] | None

    def arguments(self, member: int, folder: Path) -> list[str]:
        """Those of ``dp train``; writes the last model of the member into the folder."""
        arguments = ["--skip-neighbor-stat"] if has_fixed_sel(self.model) else []
        if self.graphs is None:
            return arguments
        (folder / "last.pb").write_bytes(self.graphs[member][GRAPH].tobytes())
        return [*arguments, "--init-frz-model", "last.pb"]


def _written(
    examples: Sequence[Example], folder: Path, name: str, species: Sequence[str]
) -> list[str]:
    """The systems of the examples, relative to the folder."""
    pairs = [(example.frame, example.label) for example in examples]
    systems = write_deepmd(pairs, folder / name, species)
    return [str(system.relative_to(folder)) for system in systems]
