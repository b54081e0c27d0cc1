"""A MACE network as arrays and back, and what it says of a frame."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaloop.core import Frame, Label, require
from voltaloop.potentials.models import Model

CONFIG = "config"
"""The array of a model that holds its architecture, as the bytes of JSON."""

STATE = "state/"
"""Before the names of the arrays that the network itself has names for."""

_IRREPS = ("hidden_irreps", "MLP_irreps", "edge_irreps")
_BLOCKS = ("interaction_cls", "interaction_cls_first", "readout_cls")
UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""Environment variable with which torch runs the code in the files that it loads."""


def load_package(module: str) -> ModuleType:
    """A module of mace, without what it prints and warns of when it is imported.

    mace and e3nn want torch to run the code in the files that it loads, which they do on import.
    That lasts as long as the import here, not as long as the process.
    """
    loaded = sys.modules.get(module)
    if loaded is not None:
        return loaded
    require("torch", extra="mace")
    before = os.environ.get(UNSAFE)
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            os.environ[UNSAFE] = "1"
            require("mace", extra="mace")
            return import_module(module)
        finally:
            os.environ.pop(UNSAFE, None)
            if before is not None:
                os.environ[UNSAFE] = before


def to_model(network: Any) -> dict[str, NDArray[Any]]:
    """Its weights and its architecture. Raises ValueError for a network of another kind."""
    config = load_package("mace.tools.scripts_utils").extract_config_mace_model(network)
    if "error" in config or type(network).__name__ != "ScaleShiftMACE":
        raise ValueError(
            f"Expected a network of the kind ScaleShiftMACE, as mace_run_train makes them with "
            f"model = MACE or ScaleShiftMACE, got {type(network).__name__}."
        )
    described = {name: _described(name, value) for name, value in config.items()}
    state = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    return {
        CONFIG: np.frombuffer(json.dumps(described).encode(), dtype=np.uint8),
        **{STATE + name: values for name, values in state.items()},
    }


def to_network(model: Model, device: str) -> Any:
    """The network that gave the arrays, in the precision it had."""
    torch = require("torch", extra="mace")
    config = json.loads(model[CONFIG].tobytes())
    state = {
        name.removeprefix(STATE): torch.tensor(values)
        for name, values in model.items()
        if name.startswith(STATE)
    }
    modules = load_package("mace.modules")
    with _precision(state["scale_shift.scale"].dtype), warnings.catch_warnings():
        # TorchScript speaks of type annotations in e3nn, and of its own old age.
        warnings.simplefilter("ignore")
        with torch.random.fork_rng(devices=[]):
            network = modules.ScaleShiftMACE(**{k: _built(k, v) for k, v in config.items()})
    network.load_state_dict(state)
    return network.to(device)


def evaluator(network: Any, device: str) -> Callable[[Frame], Label]:
    """Energy, forces and stress of frames. Energies are summed in double precision."""
    network = network.eval().requires_grad_(False)

    def evaluate(frame: Frame) -> Label:
        said = network(
            _graph(frame, network, device), compute_force=True, compute_stress=True, training=False
        )
        stress = said["stress"][0].double().cpu().numpy()
        return Label(
            energy=said["node_energy"].sum().item(),
            forces=said["forces"].double().cpu().numpy(),
            stress=stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        )

    return evaluate


def chosen_device(device: str) -> str:
    """What ``auto`` stands for on this machine."""
    if device != "auto":
        return device
    return "cuda" if require("torch", extra="mace").cuda.is_available() else "cpu"


def _graph(frame: Frame, network: Any, device: str) -> dict[str, Any]:
    """What the network is asked: neighbours within its cutoff, in its own precision."""
    torch = require("torch", extra="mace")
    edges, shifts, unit_shifts, cell = load_package("mace.data.neighborhood").get_neighborhood(
        positions=frame.positions,
        cutoff=float(network.r_max),
        pbc=(True, True, True),
        cell=frame.cell.copy(),
    )
    kinds = network.atomic_numbers.cpu().numpy()

    def tensor(values: Any, dtype: Any = network.scale_shift.scale.dtype) -> Any:
        return torch.tensor(np.asarray(values), dtype=dtype, device=device)

    return {
        "edge_index": tensor(edges, torch.long),
        "positions": tensor(frame.positions),
        "shifts": tensor(shifts),
        "unit_shifts": tensor(unit_shifts),
        "cell": tensor(cell),
        "node_attrs": tensor(frame.numbers[:, None] == kinds),
        "batch": tensor(np.zeros(len(frame)), torch.long),
        "ptr": tensor([0, len(frame)], torch.long),
        "head": tensor([0], torch.long),
    }


@contextmanager
def _precision(dtype: Any) -> Iterator[None]:
    """New tensors of torch have it meanwhile: mace and e3nn make theirs in it."""
    torch = require("torch", extra="mace")
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _described(name: str, value: Any) -> Any:
    """An argument of the network as JSON."""
    if value is None:
        return None
    if name in _IRREPS:
        return str(value)
    if name in _BLOCKS:
        return value.__name__
    if name == "gate":
        return _name_of_gate(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _built(name: str, value: Any) -> Any:
    """The argument that gave the JSON."""
    if value is None:
        return None
    if name in _IRREPS:
        return load_package("e3nn.o3").Irreps(value)
    if name in _BLOCKS:
        return getattr(load_package("mace.modules.blocks"), value)
    if name == "gate":
        return load_package("mace.modules").gate_dict[value]
    return np.array(value) if name == "atomic_energies" else value


def _name_of_gate(gate: Any) -> str:
    known: Mapping[str, Any] = load_package("mace.modules").gate_dict
    for name, function in known.items():
        if function is gate:
            return name
    raise ValueError(f"The gate {gate} is unknown. Known: {', '.join(known)}.")
