"""One member's training by CHGNet's own trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any
from warnings import catch_warnings, filterwarnings, simplefilter

import numpy as np
from ase.data import atomic_numbers

from voltaloop.core import EV_PER_A3_IN_GPA, MEV, Label, require
from voltaloop.core.chgnet import EXTRA, graph_of
from voltaloop.core.training import Curve, Example
from voltaloop.potentials.chgnet.committee import chosen_device, to_model, to_network
from voltaloop.potentials.chgnet.settings import ChgnetSettings
from voltaloop.potentials.composition import one_body_energies
from voltaloop.potentials.models import Model

SLOWEST = 0.01
"""Share of the learning rate that is left at the end."""

STEPS_PER_EPOCH = 10
"""How often at most the trainer lowers the learning rate in one pass."""

_COLUMNS = {"e": "energy", "f": "force", "s": "stress"}
_SEEN, _HELD_OUT = "train", "val"


@dataclass(frozen=True, slots=True)
class Lesson:
    """An example as the trainer takes it: its graph and what the label says, by e, f, s and m."""

    graph: Any
    targets: Mapping[str, Any]


def lessons_of(network: Any, examples: Sequence[Example]) -> list[Lesson]:
    """In the order of the examples; made once for all members."""
    return [
        Lesson(graph_of(network, example.frame), _targets(example.label, len(example.frame)))
        for example in examples
    ]


def move_energies(
    network: Any, examples: Sequence[Example], lessons: Sequence[Lesson], species: Sequence[str]
) -> None:
    """Move the network's energies of single atoms by what its predictions miss.

    Labels with a dispersion term, or of another reference, have another zero for every species.
    """
    torch = require("torch", extra=EXTRA)
    with torch.no_grad(), _quiet():
        found = network.predict_graph([lesson.graph for lesson in lessons], task="e")
    per_atom = [found] if len(lessons) == 1 else found
    missed = [
        replace(example, label=replace(example.label, energy=example.label.energy - energy))
        for example, energy in (
            (example, float(one["e"]) * len(example.frame))
            for example, one in zip(examples, per_atom, strict=True)
        )
    ]
    moves = one_body_energies(missed, species)
    with torch.no_grad():
        for symbol, move in zip(species, moves, strict=True):
            network.composition_model.fc.weight[0, atomic_numbers[symbol] - 1] += float(move)


def train_member(
    start: Model,
    arguments: Mapping[str, Any],
    settings: ChgnetSettings,
    learned: Sequence[Lesson],
    held_out: Sequence[Lesson],
    member: int,
    epochs: int,
) -> tuple[Model, Curve]:
    """What becomes of the weights ``start`` after the last pass, and how they learned."""
    torch = require("torch", extra=EXTRA)
    network = to_network(start, arguments)
    _freeze(network, settings.freeze)
    loss = Loss(_weights(settings, learned))
    with torch.random.fork_rng(devices=[]), _quiet():
        trainer = _imported("chgnet.trainer.trainer").Trainer(
            network,
            targets="".join(loss.weights),
            epochs=epochs,
            learning_rate=settings.learning_rate,
            use_device=chosen_device(settings.device),
            torch_seed=settings.seed + member,
        )
        trainer.criterion = loss
        loader = _loader(learned, settings.batch_size, shuffle=True)
        trainer.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            trainer.optimizer,
            T_max=epochs * min(STEPS_PER_EPOCH, len(loader)),
            eta_min=SLOWEST * settings.learning_rate,
        )
        # An empty name of a folder: no files.
        checks = _loader(held_out or learned[:1], settings.batch_size, shuffle=False)
        trainer.train(loader, checks, save_dir="")
    curve = _curve(trainer.training_history, loss.weights, member, held_out=bool(held_out))
    return to_model(network), curve


@dataclass(frozen=True, slots=True)
class Loss:
    """Weighted mean squared errors of what the labels have.

    weights: by e (eV/atom), f (eV/Å), s (eV/Å3) and m (μB). CHGNet's own loss is no number for a
    batch without any stress, and tells mean absolute errors. Here the trainer's history has mean
    squares instead, of meV and so on, because it keeps six decimals.
    """

    weights: Mapping[str, float]

    def __call__(self, targets: Mapping[str, Any], prediction: Mapping[str, Any]) -> dict[str, Any]:
        torch = require("torch", extra=EXTRA)
        said: dict[str, Any] = {"loss": 0.0}
        for key, weight in self.weights.items():
            want, got = (_flat(torch, one[key]) for one in (targets, prediction))
            known = ~torch.isnan(want)
            error = (got - want)[known] / (EV_PER_A3_IN_GPA if key == "s" else 1.0)
            square = error.square().sum() / max(len(error), 1)
            said["loss"] = said["loss"] + weight * square
            said[f"{key}_MAE"] = square.detach() * MEV**2
            said[f"{key}_MAE_size"] = len(error)
        return said


def _flat(torch: Any, values: Any) -> Any:
    return torch.cat([one.reshape(-1) for one in values])


def _targets(label: Label, n_atoms: int) -> dict[str, Any]:
    """CHGNet's units: eV/atom, eV/Å, GPa (positive = tension), μB; NaN for what is not known."""
    stress = np.full(6, np.nan) if label.stress is None else label.stress * EV_PER_A3_IN_GPA
    moments = np.full(n_atoms, np.nan) if label.magmoms is None else np.abs(label.magmoms)
    torch = require("torch", extra=EXTRA)
    values = {
        "e": label.energy / n_atoms,
        "f": label.forces,
        "s": stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3),
        "m": moments,
    }
    return {key: torch.tensor(np.array(value)).float() for key, value in values.items()}


def _weights(settings: ChgnetSettings, learned: Sequence[Lesson]) -> dict[str, float]:
    """By what the trainer calls them; without what no label has."""
    torch = require("torch", extra=EXTRA)
    known = {
        key
        for lesson in learned
        for key, value in lesson.targets.items()
        if not bool(torch.isnan(value).any())
    }
    given = {
        "e": settings.energy_weight,
        "f": settings.force_weight,
        "s": settings.stress_weight,
        "m": settings.moment_weight,
    }
    wanted = {"e", "f", "s"} | ({"m"} if settings.moment_weight > 0 else set())
    return {key: weight for key, weight in given.items() if key in known & wanted}


def _freeze(network: Any, what: str) -> None:
    embeddings = [
        network.atom_embedding,
        network.bond_embedding,
        network.angle_embedding,
        network.bond_basis_expansion,
        network.angle_basis_expansion,
    ]
    body = [
        network.bond_weights_ag,
        network.bond_weights_bg,
        *network.atom_conv_layers[:-1],
        *network.bond_conv_layers,
        *network.angle_layers,
    ]
    frozen = {"nothing": [], "embeddings": embeddings, "all_but_last": embeddings + body}[what]
    for part in frozen:
        part.requires_grad_(False)


def _loader(lessons: Sequence[Lesson], batch_size: int, *, shuffle: bool) -> Any:
    return require("torch.utils.data", extra=EXTRA).DataLoader(
        [(lesson.graph, dict(lesson.targets)) for lesson in lessons],
        batch_size=batch_size,
        shuffle=shuffle,
        collate_fn=_imported("chgnet.data.dataset").collate_graphs,
    )


def _curve(
    history: Mapping[str, Mapping[str, Sequence[float]]],
    weights: Mapping[str, float],
    member: int,
    *,
    held_out: bool,
) -> Curve:
    parts = {"": _SEEN} | ({"held_out_": _HELD_OUT} if held_out else {})
    count = len(history["e"][_SEEN])
    columns: dict[str, list[float | None]] = {"axis": list(range(1, count + 1))}
    for prefix, part in parts.items():
        squares = {key: np.array(history[key][part]) / MEV**2 for key in weights}
        losses = sum(weight * squares[key] for key, weight in weights.items())
        columns[f"{prefix}loss"] = _listed(losses)
        for key, name in _COLUMNS.items():
            if key in squares:
                columns[prefix + name] = _listed(np.sqrt(squares[key]))
    return Curve(member=member, axis="epoch", columns=columns)


def _listed(values: Any) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what CHGNet prints, and what it warns of when it reads its volumes."""
    with redirect_stdout(StringIO()), catch_warnings():
        filterwarnings("ignore", message="Converting a tensor with requires_grad=True")
        yield


def _imported(module: str) -> Any:
    """CHGNet's data sets switch off every warning of the process that imports them."""
    with catch_warnings():
        simplefilter("ignore")
        return require(module, extra=EXTRA)
