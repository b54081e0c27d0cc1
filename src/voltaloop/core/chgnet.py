"""The network CHGNet (https://doi.org/10.1038/s42256-023-00716-3): its weights, what it says.

Both the reference and the potential of that name use it. The arithmetic is in single precision.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any
from warnings import catch_warnings, filterwarnings, simplefilter

import numpy as np

from voltaloop.core.frame import FloatArray, Frame, Label
from voltaloop.core.registry import require

EXTRA = "chgnet"


def load_network(name: str) -> Any:
    """A network with the shipped weights of that name; loading is quiet and draws no numbers.

    It raises ValueError for a frame with an atom that has no neighbour within 6 Å.
    """
    torch = require("torch", extra=EXTRA)
    with redirect_stdout(StringIO()), catch_warnings(), torch.random.fork_rng(devices=[]):
        simplefilter("ignore")
        chgnet = require("chgnet.model.model", extra=EXTRA)
        network = chgnet.CHGNet.load(model_name=name, use_device="cpu", verbose=False)
    network.graph_converter.set_isolated_atom_response("error")
    return network


def network_label(network: Any, frame: Frame) -> Label:
    """Energy, forces, stress and the size of the moments: one forward and one backward pass.

    CHGNet's own calculator goes back twice and keeps the graph of the gradient for training,
    which takes twice as long; hence ``_compute``, which the pinned version 0.4.2 has.
    """
    graph = graph_of(network, frame)
    batch = _batch(network, graph)
    prediction = network._compute(batch, compute_magmom=True)
    size = len(frame) if network.is_intensive else 1
    energy = prediction["e"] * size
    gradient, strain_gradient = _gradients(energy, [batch.atom_positions[0], batch.strains[0]])
    return Label(
        energy=energy.item() + network.composition_model([graph]).item() * size,
        forces=-gradient,
        stress=_voigt(strain_gradient) / frame.volume,
        magmoms=prediction["m"][0].detach().cpu().numpy(),
        details={"model": f"CHGNet {network.version}"},
    )


def graph_of(network: Any, frame: Frame) -> Any:
    """Atoms, bonds and angles as the network is asked for them."""
    pymatgen = require("pymatgen.core", extra=EXTRA)
    structure = pymatgen.Structure(
        frame.cell, frame.numbers, frame.positions, coords_are_cartesian=True
    )
    return network.graph_converter(structure).to(next(network.parameters()).device)


def _batch(network: Any, graph: Any) -> Any:
    chgnet = require("chgnet.model.model", extra=EXTRA)
    with catch_warnings():
        # CHGNet reads its volume, which hangs on the strain, as plain numbers. It may: we divide
        # by the volume of the frame.
        filterwarnings("ignore", message="Converting a tensor with requires_grad=True")
        return chgnet.BatchedGraph.from_graphs(
            [graph],
            bond_basis_expansion=network.bond_basis_expansion,
            angle_basis_expansion=network.angle_basis_expansion,
            compute_stress=True,
        )


def _gradients(energy: Any, variables: list[Any]) -> list[FloatArray]:
    torch = require("torch", extra=EXTRA)
    gradients = torch.autograd.grad(energy.sum(), variables)
    return [gradient.cpu().numpy().astype(np.float64) for gradient in gradients]


def _voigt(tensor: FloatArray) -> FloatArray:
    """(3, 3) to (6,) in the order xx, yy, zz, yz, xz, xy, symmetrised."""
    symmetric = (tensor + tensor.T) / 2
    return symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
