"""A committee of MACE networks."""

from __future__ import annotations

from dataclasses import dataclass

from voltaloop.potentials.blocks import Evaluator
from voltaloop.potentials.mace.network import chosen_device, evaluator, to_network
from voltaloop.potentials.models import Model, ModelCommittee


@dataclass(frozen=True, kw_only=True, eq=False)
class MaceCommittee(ModelCommittee):
    """device: as the option ``device``, where the networks are asked."""

    device: str = "auto"

    def open(self, model: Model) -> Evaluator:
        device = chosen_device(self.device)
        return evaluator(to_network(model, device), device)
