"""CHGNet with D3 dispersion: the embedded reference, a stand-in for PBE+U.

CHGNet: https://doi.org/10.1038/s42256-023-00716-3.
"""

from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from typing import Any, ClassVar, Literal
from warnings import catch_warnings, filterwarnings, simplefilter

import numpy as np
from pydantic import Field

from voltaloop.core import FloatArray, Frame, Label, Rung, require
from voltaloop.references.dispersion import DispersionSettings, check_dispersion, with_dispersion
from voltaloop.references.labelling import check_packages

_FUNCTIONAL = {"0.3.0": "PBE", "r2scan": "r2scan"}


class CHGNetSettings(DispersionSettings):
    """Options of the reference ``chgnet``."""

    model: Literal["0.3.0", "r2scan"] = Field(
        default="0.3.0",
        description="Weights: 0.3.0 was trained on PBE(+U), r2scan on r2SCAN energies. D3 takes "
        "the parameters of the same functional.",
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="Threads of torch in this process. One per worker is fastest for many frames.",
    )


@dataclass(frozen=True, slots=True)
class CHGNet:
    """CHGNet 0.4.2 as a reference: energy, forces, stress and magnetic moments.

    The moments are magnitudes (CHGNet gives no sign). The arithmetic is in single precision.
    """

    Settings: ClassVar[type[CHGNetSettings]] = CHGNetSettings
    # A network has no iterations that might not converge: what it says once it says again.
    LADDER: ClassVar[tuple[Rung, ...]] = ()

    settings: CHGNetSettings

    def check_installed(self) -> None:
        check_packages(["torch", "chgnet"], extra="chgnet")
        check_dispersion(self.settings, extra="chgnet")

    def executes(self) -> list[str]:
        """Nothing: the settings name no code."""
        return []

    def label(self, frame: Frame) -> Label:
        """Raises ValueError for a frame with an atom that has no neighbour within 6 Å."""
        model = _load_model(self.settings.model)
        require("torch", extra="chgnet").set_num_threads(self.settings.threads)
        return with_dispersion(
            _model_label(model, frame),
            frame,
            self.settings,
            functional=_FUNCTIONAL[self.settings.model],
            extra="chgnet",
        )


@lru_cache(maxsize=2)
def _load_model(name: str) -> Any:
    """The network, loaded once in a process, without what it prints and warns of on loading."""
    with redirect_stdout(StringIO()), catch_warnings():
        simplefilter("ignore")
        chgnet = require("chgnet.model.model", extra="chgnet")
        model = chgnet.CHGNet.load(model_name=name, use_device="cpu", verbose=False)
    model.graph_converter.set_isolated_atom_response("error")
    return model.eval().requires_grad_(False)


def _model_label(model: Any, frame: Frame) -> Label:
    """One forward and one backward pass.

    CHGNet's own calculator goes back twice and keeps the graph of the gradient for training,
    which takes twice as long; hence ``_compute``, which the pinned version 0.4.2 has.
    """
    graph = _graph(model, frame)
    batch = _batch(model, graph)
    prediction = model._compute(batch, compute_magmom=True)
    size = len(frame) if model.is_intensive else 1
    energy = prediction["e"] * size
    gradient, strain_gradient = _gradients(energy, [batch.atom_positions[0], batch.strains[0]])
    return Label(
        energy=energy.item() + model.composition_model([graph]).item() * size,
        forces=-gradient,
        stress=_voigt(strain_gradient) / frame.volume,
        magmoms=prediction["m"][0].detach().numpy(),
        details={"model": f"CHGNet {model.version}"},
    )


def _graph(model: Any, frame: Frame) -> Any:
    pymatgen = require("pymatgen.core", extra="chgnet")
    structure = pymatgen.Structure(
        frame.cell, frame.numbers, frame.positions, coords_are_cartesian=True
    )
    return model.graph_converter(structure)


def _batch(model: Any, graph: Any) -> Any:
    chgnet = require("chgnet.model.model", extra="chgnet")
    with catch_warnings():
        # CHGNet reads its volume, which hangs on the strain, as plain numbers. It may: we divide
        # by the volume of the frame.
        filterwarnings("ignore", message="Converting a tensor with requires_grad=True")
        return chgnet.BatchedGraph.from_graphs(
            [graph],
            bond_basis_expansion=model.bond_basis_expansion,
            angle_basis_expansion=model.angle_basis_expansion,
            compute_stress=True,
        )


def _gradients(energy: Any, variables: list[Any]) -> list[FloatArray]:
    torch = require("torch", extra="chgnet")
    gradients = torch.autograd.grad(energy.sum(), variables)
    return [gradient.numpy().astype(np.float64) for gradient in gradients]


def _voigt(tensor: FloatArray) -> FloatArray:
    """(3, 3) to (6,) in the order xx, yy, zz, yz, xz, xy, symmetrised."""
    symmetric = (tensor + tensor.T) / 2
    return symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
