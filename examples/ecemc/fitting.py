"""One fit: an engine trained on a generation, with what it took."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from electrolyte import SPECIES
from pydantic import BaseModel, ValidationError
from shelf import Shelf, Step

from voltaloop.core import VoltaloopError, digest_of
from voltaloop.core.contracts import Committee
from voltaloop.core.training import Example
from voltaloop.potentials import POTENTIALS, Potential


class SettingsError(VoltaloopError):
    """A settings file is missing or has a key or value that its engine does not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A potential with its settings, ready to train."""

    name: str
    settings: BaseModel
    potential: Potential
    notice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A trained committee. digest: of what it was made from; wall_s, cpu_s: of learning."""

    engine: str
    generation: str
    n_frames: int
    digest: str
    committee: Committee
    held_out: Mapping[str, float]
    hyperparameters: Mapping[str, float]
    wall_s: float
    cpu_s: float


def load_engine(name: str, folder: Path) -> Engine:
    """The engine with the settings of ``<name>.yaml`` in the folder.

    Raises UnknownBackendError, SettingsError, and MissingDependencyError where it is not installed.
    """
    kind = POTENTIALS.load(name)
    file = folder / f"{name}.yaml"
    if not file.is_file():
        raise SettingsError(f"Expected the settings of '{name}' in {file}, found no such file.")
    try:
        settings = kind.Settings.model_validate(yaml.safe_load(file.read_text()) or {})
    except ValidationError as err:
        raise SettingsError(f"{file}: {err}") from err
    potential = kind(settings)
    potential.check_installed()
    return Engine(name=name, settings=settings, potential=potential, notice=kind.NOTICE)


def identity(engine: Engine, examples: Sequence[Example]) -> Any:
    """The JSON that a fit depends on."""
    return {
        "step": "fit-1",
        "engine": engine.name,
        "settings": engine.settings.model_dump(mode="json"),
        "species": list(SPECIES),
        "examples": [[e.frame.digest, e.label.to_json()] for e in examples],
    }


def fitted(engine: Engine, generation: str, examples: Sequence[Example], shelf: Shelf) -> Fit:
    """Train, or take the fit from the shelf."""
    what = identity(engine, examples)
    step = shelf.once(what, lambda: _train(engine, examples, shelf))
    return Fit(
        engine=engine.name,
        generation=generation,
        n_frames=len(examples),
        digest=digest_of(what),
        committee=engine.potential.load(step.facts["meta"], step.arrays),
        **{k: step.facts[k] for k in ("held_out", "hyperparameters", "wall_s", "cpu_s")},
    )


def _train(engine: Engine, examples: Sequence[Example], shelf: Shelf) -> Step:
    wall, cpu = time.perf_counter(), _cpu_s()
    trained = engine.potential.train(SPECIES, examples, shelf.store)
    facts = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": _cpu_s() - cpu,
        "held_out": dict(trained.held_out),
        "hyperparameters": dict(trained.hyperparameters),
        "meta": dict(trained.committee.to_json()),
    }
    return Step(facts=facts, arrays=trained.committee.to_arrays())


def _cpu_s() -> float:
    """CPU seconds of this process and of the ended programs that it started."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))
