"""The potential ``chgnet``: the shipped network, fine-tuned.

CHGNet: https://doi.org/10.1038/s42256-023-00716-3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, ClassVar

from voltaloop.core import FloatArray, require
from voltaloop.core.chgnet import EXTRA, load_network
from voltaloop.core.training import Example, Memo, Previous, Trained
from voltaloop.potentials.blocks import (
    check_examples,
    held_out_errors,
    held_out_from,
    learned_by,
)
from voltaloop.potentials.chgnet.committee import ChgnetCommittee, to_model
from voltaloop.potentials.chgnet.settings import ChgnetSettings
from voltaloop.potentials.chgnet.training import lessons_of, move_energies, train_member
from voltaloop.potentials.models import Model, descriptors_of


@dataclass(frozen=True, slots=True)
class ChgnetPotential:
    """Fine-tuned CHGNet networks; see :class:`ChgnetSettings`."""

    Settings: ClassVar[type[ChgnetSettings]] = ChgnetSettings
    NOTICE: ClassVar[str] = ""
    BRIEF: ClassVar[Mapping[str, Any]] = {"members": 2, "epochs": 1, "retrain_epochs": 1}

    settings: ChgnetSettings

    def check_installed(self) -> None:
        for package in ("torch", "chgnet"):
            if find_spec(package) is None:
                require(package, extra=EXTRA)

    def executes(self) -> list[str]:
        """Nothing: the settings name no code."""
        return []

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> ChgnetCommittee:
        return replace(ChgnetCommittee.load(meta, arrays), device=self.settings.device)

    def train(
        self,
        species: Sequence[str],
        examples: Sequence[Example],
        memo: Memo,
        previous: Previous | None = None,
    ) -> Trained:
        """Train every member on all blocks but its own, from its last network or the shipped one.

        Raises ValueError for too few examples, for labels that are not finite and for a frame with
        an atom that has no neighbour within 6 Å.
        """
        settings = self.settings
        check_examples(examples, settings.members, "chgnet")
        shipped = load_network(settings.model)
        lessons = lessons_of(shipped, examples)
        last = self._last_models(species, previous)
        if last is None:
            move_energies(shipped, examples, lessons, species)
        trained = [
            train_member(
                to_model(shipped) if last is None else last[member],
                shipped.model_args,
                settings,
                learned_by(lessons, member, settings.members),
                held_out_from(lessons, member, settings.members),
                member,
                settings.epochs if last is None else settings.retrain_epochs,
            )
            for member in range(settings.members)
        ]
        committee = ChgnetCommittee(
            species=tuple(species),
            models=tuple(model for model, _ in trained),
            meta={"arguments": dict(shipped.model_args), **settings.architecture},
            device=settings.device,
        )
        return Trained(
            committee=committee,
            descriptors=descriptors_of(examples, species, memo),
            held_out=held_out_errors(committee.evaluators, examples),
            hyperparameters={},
            curves=[curve for _, curve in trained],
        )

    def _last_models(
        self, species: Sequence[str], previous: Previous | None
    ) -> Sequence[Model] | None:
        """The networks to go on from, where they are of the kind that the settings ask for."""
        last = previous.committee if previous else None
        if (
            isinstance(last, ChgnetCommittee)
            and last.species == tuple(species)
            and len(last.models) == self.settings.members
            and last.meta["model"] == self.settings.model
        ):
            return last.models
        return None
