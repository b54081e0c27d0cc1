"""What a committee, or the reference, says of a set of frames, and how far apart they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from electrolyte import Sample
from fitting import Fit
from reference import METHOD, free_label
from shelf import Shelf, Step

from voltaloop.core import MEV, FloatArray, Frame, Label, digest_of
from voltaloop.core.contracts import Committee
from voltaloop.exploration import static_evaluator
from voltaloop.molecules import ForceParts, force_errors, split_energy, split_forces

Tick = Callable[[], None]
"""Called for every frame that is done."""

PORTION = 50
"""Frames of one step: what a run that is ended loses."""

TIMED = 5
"""Evaluations that the speed is measured with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Of every frame of a set.

    intra, inter: (n_frames,) eV, energies of the molecules alone and what is left of the frame's;
    forces: n_frames arrays of (n_atoms, 3) in eV/Å, in parts.
    """

    intra: FloatArray
    inter: FloatArray
    forces: Sequence[ForceParts]

    @property
    def energy(self) -> FloatArray:
        """(n_frames,) eV."""
        return self.intra + self.inter


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Root mean squares of errors of one fit on one set, in meV, meV/atom and meV/Å.

    force: components of all atoms; translational, rotational, internal: of its parts; net_force:
    components of the sums over molecules; energy, intra: by atom of the frame; inter: by molecule
    of frames with several, None where there are none.
    """

    energy: float
    intra: float
    inter: float | None
    force: float
    translational: float
    rotational: float
    internal: float
    net_force: float


def said_by_reference(samples: Sequence[Sample], shelf: Shelf, tick: Tick) -> Said:
    """The labels of the data where they have some, else GFN2-xTB; always of molecules alone."""
    known = {s.frame.digest: s.label for s in samples if s.label is not None}
    labels = digest_of({digest: label.to_json() for digest, label in known.items()})
    by = {"reference": METHOD, "labels": labels}
    return _said(samples, lambda f: known.get(f.digest) or free_label(f), by, shelf, tick)


def said_by(fit: Fit, samples: Sequence[Sample], shelf: Shelf, tick: Tick) -> Said:
    """The mean of the committee."""
    mean = fit.committee.averaged()
    return _said(samples, lambda f: _mean(mean, f), {"fit": fit.digest}, shelf, tick)


def errors_of(got: Said, expected: Said, samples: Sequence[Sample]) -> Errors:
    """In meV."""
    atoms = np.array([len(sample.frame) for sample in samples])
    molecules = np.array([len(sample.molecules) for sample in samples])
    several = molecules > 1
    inter = ((got.inter - expected.inter) / molecules)[several]
    force = force_errors(got.forces, expected.forces)
    return Errors(
        energy=_rms((got.energy - expected.energy) / atoms),
        intra=_rms((got.intra - expected.intra) / atoms),
        inter=_rms(inter) if len(inter) else None,
        force=force.total * MEV,
        translational=force.translational * MEV,
        rotational=force.rotational * MEV,
        internal=force.internal * MEV,
        net_force=force.net * MEV,
    )


def sizes_of(expected: Said, samples: Sequence[Sample]) -> Errors:
    """How large the labels are: the errors of knowing no more than the mean energy of an atom of
    each element, and that nothing moves."""
    still = [split_forces(np.zeros((len(s.frame), 3)), s.molecules) for s in samples]
    counted = _by_composition(expected.intra, samples)
    guess = Said(intra=counted, inter=np.zeros_like(counted), forces=still)
    return errors_of(guess, expected, samples)


def speed_of(fit: Fit, frame: Frame, shelf: Shelf) -> float:
    """CPU milliseconds for each atom of the frame: one member in LAMMPS, as in dynamics."""
    what = {"step": "speed-1", "fit": fit.digest, "frame": frame.digest}
    return float(shelf.once(what, lambda: _speed(fit.committee.member(0), frame)).facts["ms"])


def _said(
    samples: Sequence[Sample],
    label: Callable[[Frame], Label],
    by: Mapping[str, Any],
    shelf: Shelf,
    tick: Tick,
) -> Said:
    """Asked portion by portion; ``by``: the JSON that the labels depend on."""
    steps = []
    for start in range(0, len(samples), PORTION):
        portion = samples[start : start + PORTION]
        what = {"step": "evaluate-2", **by, "frames": [s.frame.digest for s in portion]}
        steps.append(shelf.once(what, partial(_ask, portion, label)))
        for _ in portion:
            tick()
    joined = {
        name: np.concatenate([step.arrays[name] for step in steps])
        for name in ("intra", "inter", "forces")
    }
    pieces = _by_frame(joined["forces"], samples)
    return Said(
        intra=joined["intra"],
        inter=joined["inter"],
        forces=[split_forces(f, s.molecules) for f, s in zip(pieces, samples, strict=True)],
    )


def _ask(samples: Sequence[Sample], label: Callable[[Frame], Label]) -> Step:
    parts, forces = [], []
    for sample in samples:
        whole = label(sample.frame)
        asked = _once_known(sample.frame, whole, label)
        parts.append(split_energy(sample.frame, sample.molecules, asked))
        forces.append(whole.forces)
    arrays = {
        "intra": np.array([one.intra for one in parts]),
        "inter": np.array([one.inter for one in parts]),
        "forces": np.concatenate(forces),
    }
    return Step(facts={}, arrays=arrays)


def _once_known(
    frame: Frame, whole: Label, label: Callable[[Frame], Label]
) -> Callable[[Frame], float]:
    return lambda asked: (whole if asked is frame else label(asked)).energy


def _mean(committee: Committee, frame: Frame) -> Label:
    got = committee.predict(frame)
    return Label(energy=float(got.energy[0]), forces=got.forces[0])


def _by_frame(forces: Any, samples: Sequence[Sample]) -> Iterator[FloatArray]:
    ends = np.cumsum([len(sample.frame) for sample in samples])
    yield from np.split(forces, ends[:-1])


def _speed(committee: Committee, frame: Frame) -> Step:
    with static_evaluator(frame, committee) as evaluate:
        evaluate(frame)
        start = time.process_time()
        for _ in range(TIMED):
            evaluate(frame)
        seconds = time.process_time() - start
    return Step(facts={"ms": 1e3 * seconds / TIMED / len(frame)}, arrays={})


def _by_composition(energy: FloatArray, samples: Sequence[Sample]) -> FloatArray:
    """(n_frames,) eV: what least squares over the numbers of atoms of each element explain."""
    numbers = sorted({int(z) for s in samples for z in s.frame.numbers})
    counts = np.array([[np.sum(s.frame.numbers == z) for z in numbers] for s in samples], float)
    explained: FloatArray = counts @ np.linalg.lstsq(counts, energy, rcond=1e-8)[0]
    return explained


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2))) * MEV
