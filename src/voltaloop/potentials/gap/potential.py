"""The potential ``gap``: a committee fitted by gap_fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from voltaloop.core import FloatArray, Frame, Label
from voltaloop.core.training import Curve, Example, Memo, Previous, Trained
from voltaloop.potentials.blocks import (
    Evaluator,
    check_examples,
    held_out_errors,
    held_out_from,
    learned_by,
    root_mean_squares,
)
from voltaloop.potentials.composition import one_body_energies
from voltaloop.potentials.gap.committee import GapCommittee
from voltaloop.potentials.gap.fitting import fit, program
from voltaloop.potentials.gap.settings import GapSettings
from voltaloop.potentials.models import descriptors_of


@dataclass(frozen=True, slots=True)
class Gap:
    """Committee of Gaussian approximation potentials; see :class:`GapSettings`."""

    Settings: ClassVar[type[GapSettings]] = GapSettings
    NOTICE: ClassVar[str] = (
        "The potential 'gap' runs GAP through the optional package quippy-ase. GAP has the "
        "Academic Software License (ASL): academic, non-commercial use only "
        "(https://github.com/libAtoms/GAP/blob/main/LICENSE.md). For any other use ask its "
        "licensors, Cambridge Enterprise, for a licence first."
    )
    BRIEF: ClassVar[Mapping[str, Any]] = {
        "members": 3,
        "sparse_2b": 5,
        "soap": {"cutoff": 3.0, "n_max": 2, "l_max": 1, "sparse": 10},
    }

    settings: GapSettings

    def check_installed(self) -> None:
        program()

    def executes(self) -> list[str]:
        """Nothing: the settings name no program."""
        return []

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> GapCommittee:
        return GapCommittee.load(meta, arrays)

    def train(
        self,
        species: Sequence[str],
        examples: Sequence[Example],
        memo: Memo,
        previous: Previous | None = None,  # noqa: ARG002 - every fit is a new one
    ) -> Trained:
        """Fit every member anew, each without its block. Raises ValueError for too few or broken
        examples, GapFitError where gap_fit fails."""
        settings = self.settings
        check_examples(examples, settings.members, "gap")
        e0 = self._one_body(species, examples)
        models = [
            fit(learned_by(examples, k, settings.members), settings, e0, seed=k + 1)
            for k in range(settings.members)
        ]
        committee = GapCommittee(
            species=tuple(species),
            models=tuple(models),
            meta={"uncertainty": settings.uncertainty},
        )
        evaluators = [_remembering(evaluate) for evaluate in committee.evaluators]
        return Trained(
            committee=committee,
            descriptors=descriptors_of(examples, species, memo),
            held_out=held_out_errors(evaluators, examples),
            hyperparameters={},
            curves=[_curve(k, settings.members, one, examples) for k, one in enumerate(evaluators)],
        )

    def _one_body(self, species: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        """Energy in eV of a single atom of every species."""
        given = self.settings.e0
        if given is None:
            found = one_body_energies(examples, species)
            return {symbol: float(energy) for symbol, energy in zip(species, found, strict=True)}
        missing = [symbol for symbol in species if symbol not in given]
        if missing:
            raise ValueError(
                f"The potential 'gap' has no energy of an isolated atom of {', '.join(missing)}: "
                f"add it to e0, which has {', '.join(given)}, or leave e0 out"
            )
        return {symbol: given[symbol] for symbol in species}


def _remembering(evaluate: Evaluator) -> Evaluator:
    """The same model, which evaluates a frame only once."""
    known: dict[str, Label] = {}

    def asked(frame: Frame) -> Label:
        digest = frame.digest
        if digest not in known:
            known[digest] = evaluate(frame)
        return known[digest]

    return asked


def _curve(member: int, members: int, evaluate: Evaluator, examples: Sequence[Example]) -> Curve:
    """The one point of a fit that is not iterated: errors on what was held out from it, and on as
    many of the examples that it learned from, because these errors take as long as the fit."""
    learned = learned_by(examples, member, members)[:: max(members - 1, 1)]
    seen = root_mean_squares(evaluate, learned)
    unseen = root_mean_squares(evaluate, held_out_from(examples, member, members))
    columns: dict[str, list[float | None]] = {"axis": [1.0]}
    columns |= {name: [value] for name, value in seen.items()}
    columns |= {f"held_out_{name}": [value] for name, value in unseen.items()}
    return Curve(member=member, axis="fit", columns=columns)
