"""DeePMD-kit's input.json from our options and the user's own keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from voltaloop.core import Frame
from voltaloop.core.training import Example
from voltaloop.potentials.deepmd.settings import DeepmdSettings

Json = dict[str, Any]

CURVE_FILE = "lcurve.out"

NEVER = 1_000_000_000
"""Steps between two checkpoints: the last step writes one anyway."""

CURVE_POINTS = 50
"""Rows of lcurve.out that a training writes."""

MOST_HELD_OUT = 8
"""Held-out frames that each of these rows is measured on; more cost time of training."""

FEWEST_NEIGHBOURS = 4
"""Also of a species that is never near, and the step in which numbers of neighbours are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """Folders of deepmd/npy, as dp reads them: relative to where it runs."""

    learned: Sequence[str]
    held_out: Sequence[str]
    n_held_out: int


def model_section(settings: DeepmdSettings, species: Sequence[str], sel: Sequence[int]) -> Json:
    """What decides the shape of the nets: a member goes on from a model with the same section."""
    default = {
        "descriptor": {
            "type": "se_e2_a",
            "rcut": settings.rcut,
            "rcut_smth": settings.rcut_smth,
            "sel": list(sel),
            "neuron": list(settings.embedding),
            "axis_neuron": settings.axis_neurons,
            "type_one_side": True,
        },
        "fitting_net": {"neuron": list(settings.fitting), "resnet_dt": True},
    }
    return merged(default, settings.own_input.get("model", {})) | {"type_map": list(species)}


def has_fixed_sel(model: Mapping[str, Any]) -> bool:
    """Whether the numbers of neighbours are given, not left to DeePMD-kit ("auto")."""
    return '"sel": "auto' not in json.dumps(model)


def training_input(
    settings: DeepmdSettings,
    model: Mapping[str, Any],
    systems: Systems,
    member: int,
    *,
    goes_on: bool,
) -> Json:
    """The whole input of one member; ``goes_on``: from its last model."""
    own = {key: value for key, value in settings.own_input.items() if key != "model"}
    whole = merged(_default(settings), own)
    if goes_on:
        whole = merged(whole, _going_on(settings, whole))
    rate, training = whole["learning_rate"], whole["training"]
    steps = training["numb_steps"]
    if rate["type"] == "exp":
        rate.setdefault("decay_steps", ceil(steps / 100))
    training.setdefault("disp_freq", max(1, steps // CURVE_POINTS))
    whole = merged(whole, {"training": _data(systems)})
    return _seeded({"model": merged({}, model), **whole}, settings.seed + member)


def _default(settings: DeepmdSettings) -> Json:
    decay = {} if settings.decay_steps is None else {"decay_steps": settings.decay_steps}
    return {
        "learning_rate": {
            "type": "exp",
            "start_lr": settings.lr_start,
            "stop_lr": settings.lr_stop,
            **decay,
        },
        "loss": {
            "type": "ener",
            **_prefactors("e", settings.pref_e),
            **_prefactors("f", settings.pref_f),
            **_prefactors("v", settings.pref_v),
        },
        "training": {
            "numb_steps": settings.steps,
            "training_data": {"batch_size": settings.batch_size},
            "save_freq": NEVER,
        },
    }


def _data(systems: Systems) -> Json:
    """What a member learns from and is measured on; where dp runs and writes is not the user's."""
    data: Json = {"disp_file": CURVE_FILE, "training_data": {"systems": list(systems.learned)}}
    if systems.held_out:
        data["validation_data"] = {
            "systems": list(systems.held_out),
            "batch_size": 1,
            "numb_btch": min(systems.n_held_out, MOST_HELD_OUT),
        }
    return data


def _prefactors(quantity: str, start_limit: tuple[float, float]) -> dict[str, float]:
    start, limit = start_limit
    return {f"start_pref_{quantity}": start, f"limit_pref_{quantity}": limit}


def _going_on(settings: DeepmdSettings, whole: Mapping[str, Any]) -> Json:
    """Fewer steps from a smaller learning rate on, with the prefactors that belong to that rate."""
    rate, loss = whole["learning_rate"], whole["loss"]
    first = rate.get("start_lr", settings.lr_start)
    again = min(settings.retrain_lr_start, first)
    later = {}
    for key, limit in loss.items():
        start = key.replace("limit_pref", "start_pref")
        if key.startswith("limit_pref") and start in loss:
            later[start] = limit + (loss[start] - limit) * again / first
    return {
        "learning_rate": {"start_lr": again} if "start_lr" in rate else {},
        "loss": later,
        "training": {"numb_steps": settings.retrain_steps},
    }


def _seeded(whole: Json, seed: int) -> Json:
    model = whole["model"]
    for section in (model.get("descriptor"), model.get("fitting_net"), whole["training"]):
        if isinstance(section, dict):
            section["seed"] = seed
    return whole


def merged(default: Mapping[str, Any], own: Mapping[str, Any]) -> Json:
    """``own`` over ``default``, section by section; a section of another type replaces it."""
    both = {key: _copied(value) for key, value in default.items()}
    for key, value in own.items():
        before = both.get(key)
        if isinstance(before, dict) and isinstance(value, Mapping) and _same_type(before, value):
            both[key] = merged(before, value)
        else:
            both[key] = _copied(value)
    return both


def _same_type(default: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    return bool(own.get("type", default.get("type")) == default.get("type"))


def _copied(value: Any) -> Any:
    return merged({}, value) if isinstance(value, Mapping) else value


def neighbours(
    settings: DeepmdSettings, species: Sequence[str], examples: Sequence[Example]
) -> list[int]:
    """The option ``sel`` in the order of the species, else the most in the data and a margin."""
    if settings.sel is not None:
        missing = [symbol for symbol in species if symbol not in settings.sel]
        if missing:
            raise ValueError(
                f"potential.sel has no number for {', '.join(missing)}; expected one for each of "
                f"{', '.join(species)}"
            )
        return [settings.sel[symbol] for symbol in species]
    most = most_neighbours(settings.rcut, species, examples)
    return [
        FEWEST_NEIGHBOURS * max(1, ceil(count * settings.sel_margin / FEWEST_NEIGHBOURS))
        for count in most
    ]


def most_neighbours(rcut: float, species: Sequence[str], examples: Sequence[Example]) -> list[int]:
    """The most neighbours of each species that any atom of the examples has."""
    each = np.array([_neighbours_in(example.frame, rcut, species) for example in examples])
    most: list[int] = each.max(axis=0).tolist()
    return most


def _neighbours_in(frame: Frame, rcut: float, species: Sequence[str]) -> list[int]:
    centre, other = neighbor_list("ij", frame.to_atoms(), rcut)
    numbers = frame.numbers[other]
    counts = [
        np.bincount(centre[numbers == atomic_numbers[symbol]], minlength=len(frame)).max()
        for symbol in species
    ]
    return [int(count) for count in counts]
