"""A committee of fine-tuned CHGNet networks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any
from warnings import catch_warnings, simplefilter

from numpy.typing import NDArray

from voltaloop.core import Frame, Label, require
from voltaloop.core.chgnet import EXTRA, network_label
from voltaloop.potentials.blocks import Evaluator
from voltaloop.potentials.models import Model, ModelCommittee


@dataclass(frozen=True, kw_only=True, eq=False)
class ChgnetCommittee(ModelCommittee):
    """device: as the option ``device``, where the networks are asked."""

    device: str = "auto"

    def open(self, model: Model) -> Evaluator:
        network = to_network(model, self.meta["arguments"])
        network = network.to(chosen_device(self.device)).eval().requires_grad_(False)

        def evaluate(frame: Frame) -> Label:
            return replace(network_label(network, frame), magmoms=None, details={})

        return evaluate


def to_model(network: Any) -> dict[str, NDArray[Any]]:
    """Its weights by the names that the network has for them."""
    return {name: values.cpu().numpy() for name, values in network.state_dict().items()}


def to_network(model: Model, arguments: Mapping[str, Any]) -> Any:
    """The network that gave the arrays; ``arguments``: what it was built with.

    It takes atoms without neighbours, too: molecular dynamics may lose some, and then ends itself.
    """
    torch = require("torch", extra=EXTRA)
    with redirect_stdout(StringIO()), catch_warnings():
        simplefilter("ignore")
        chgnet = require("chgnet.model.model", extra=EXTRA)
        with torch.random.fork_rng(devices=[]):
            network = chgnet.CHGNet(**arguments)
    network.load_state_dict({name: torch.tensor(values) for name, values in model.items()})
    network.graph_converter.set_isolated_atom_response("ignore")
    return network


def chosen_device(device: str) -> str:
    """What ``auto`` stands for on this machine."""
    if device != "auto":
        return device
    return "cuda" if require("torch", extra=EXTRA).cuda.is_available() else "cpu"
