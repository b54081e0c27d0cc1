"""The potential ``mace``: members trained one after the other in a process of their own.

MACE: https://doi.org/10.48550/arXiv.2206.07697.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from voltaloop.core import CampaignFileError, FloatArray, require
from voltaloop.core.training import Example, Memo, Previous, Trained
from voltaloop.potentials.blocks import (
    check_examples,
    held_out_errors,
    held_out_from,
    learned_by,
)
from voltaloop.potentials.mace.committee import MaceCommittee
from voltaloop.potentials.mace.settings import MaceSettings
from voltaloop.potentials.mace.training import prepare, read_curve, run, trained_model
from voltaloop.potentials.models import Model, descriptors_of


@dataclass(frozen=True, slots=True)
class Mace:
    """MACE networks; see :class:`MaceSettings`."""

    Settings: ClassVar[type[MaceSettings]] = MaceSettings
    NOTICE: ClassVar[str] = ""
    BRIEF: ClassVar[Mapping[str, Any]] = {"members": 2, "epochs": 1, "retrain_epochs": 1}

    settings: MaceSettings

    def check_installed(self) -> None:
        """Also raises CampaignFileError when the foundation is not there."""
        for package in ("torch", "mace"):
            if find_spec(package) is None:
                require(package, extra="mace")
        foundation = self.settings.foundation
        if foundation is not None and not Path(foundation).is_file():
            raise CampaignFileError(
                f"potential.foundation: there is no file {foundation}. Expected a .model file that "
                "mace_run_train or the authors of MACE made; mend the path, or leave the option "
                "out to train from scratch."
            )

    def executes(self) -> list[str]:
        """The foundation, as a .model file is a pickle: opening it runs the code it holds."""
        return [] if self.settings.foundation is None else [self.settings.foundation]

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> MaceCommittee:
        return replace(MaceCommittee.load(meta, arrays), device=self.settings.device)

    def train(
        self,
        species: Sequence[str],
        examples: Sequence[Example],
        memo: Memo,
        previous: Previous | None = None,
    ) -> Trained:
        """Train every member on all blocks but its own; it goes on from its last network where
        that has the same architecture. Of the passes the one with the smallest loss on the
        held-out block is kept, so held-out errors are a little too small.

        Raises ValueError for too few examples and for labels that are not finite, MaceError with
        the program's last lines when it fails.
        """
        settings = self.settings
        check_examples(examples, settings.members, "mace")
        last = self._last_models(species, previous)
        with TemporaryDirectory(prefix="voltaloop-mace-", ignore_cleanup_errors=True) as name:
            folders = [Path(name) / f"member-{k:03}" for k in range(settings.members)]
            for member, folder in enumerate(folders):
                prepare(
                    folder,
                    settings,
                    species,
                    learned_by(examples, member, settings.members),
                    held_out_from(examples, member, settings.members),
                    member,
                    last[member] if last else None,
                )
            run(Path(name))
            models = tuple(trained_model(folder) for folder in folders)
            curves = [
                read_curve(folder, member, held_out=settings.members > 1)
                for member, folder in enumerate(folders)
            ]
        committee = MaceCommittee(
            species=tuple(species),
            models=models,
            meta={"architecture": settings.architecture},
            device=settings.device,
        )
        return Trained(
            committee=committee,
            descriptors=descriptors_of(examples, species, memo),
            held_out=held_out_errors(committee.evaluators, examples),
            hyperparameters={},
            curves=curves,
        )

    def _last_models(
        self, species: Sequence[str], previous: Previous | None
    ) -> Sequence[Model] | None:
        """The networks to go on from, where they are of the kind that the settings ask for."""
        last = previous.committee if previous else None
        if (
            isinstance(last, MaceCommittee)
            and last.species == tuple(species)
            and len(last.models) == self.settings.members
            and last.meta["architecture"] == self.settings.architecture
        ):
            return last.models
        return None
