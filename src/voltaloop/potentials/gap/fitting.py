"""Running ``gap_fit``: examples in, the arrays of a model out.

GAP: https://doi.org/10.1103/PhysRevLett.104.136403, the program:
https://doi.org/10.1063/5.0160898.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import combinations_with_replacement
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from voltaloop.core import Frame, Label, MissingDependencyError, VoltaloopError
from voltaloop.core.training import Example
from voltaloop.potentials.gap.model import XML_FILE, read_model
from voltaloop.potentials.gap.settings import GapSettings, Soap

LOG_LINES = 15
"""Lines of gap_fit's own output that an error keeps."""

_INSTALL = "make gap, or pip install 'voltaloop[gap]'"


class GapFitError(VoltaloopError):
    """gap_fit gave no model, or one that has not learned from all that it was given."""


def program() -> Path:
    """The gap_fit of the package quippy-ase; MissingDependencyError where there is none."""
    spec = find_spec("quippy")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(f"'quippy' is not installed. Install it with: {_INSTALL}")
    path = Path(spec.origin).with_name("gap_fit")
    if not path.exists():
        raise MissingDependencyError(
            f"'quippy' has no program gap_fit beside {spec.origin}. Install quippy-ase's wheel "
            f"with: {_INSTALL}"
        )
    return path


def fit(
    examples: Sequence[Example], settings: GapSettings, e0: Mapping[str, float], seed: int
) -> dict[str, NDArray[Any]]:
    """Fit one model; its arrays. ``e0``: energies in eV of single atoms, for every species.

    Runs gap_fit with the threads that OMP_NUM_THREADS allows. Raises GapFitError.
    """
    with TemporaryDirectory(prefix="voltaloop-gap-") as scratch:
        folder = Path(scratch)
        write_examples(folder / "train.xyz", examples)
        said = _run(command(examples, settings, e0, seed), folder)
        check_targets(said, examples)
        return read_model(folder / XML_FILE)


def _run(arguments: Sequence[str], folder: Path) -> str:
    """What gap_fit says, if it ends well."""
    done = subprocess.run(  # noqa: S603 - the package's own program, a list, no shell
        [str(program()), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0 or not (folder / XML_FILE).exists():
        raise GapFitError(
            f"gap_fit ended with exit code {done.returncode} and gave no model. Its last words:\n"
            f"{_last_lines(done.stdout)}"
        )
    return done.stdout


def _last_lines(text: str) -> str:
    return "\n".join([line for line in text.splitlines() if line.strip()][-LOG_LINES:])


def command(
    examples: Sequence[Example], settings: GapSettings, e0: Mapping[str, float], seed: int
) -> list[str]:
    """The arguments of gap_fit."""
    energies = ":".join(f"{symbol}:{energy!r}" for symbol, energy in e0.items())
    sigmas = (settings.sigma_energy, settings.sigma_force, settings.sigma_virial, 0.0)
    return [
        "at_file=train.xyz",
        f"gap={{{':'.join(f'{{{d}}}' for d in descriptors(examples, settings, list(e0)))}}}",
        f"e0={{{energies}}}",
        f"default_sigma={{{' '.join(map(str, sigmas))}}}",
        "energy_parameter_name=REF_energy",
        "force_parameter_name=REF_forces",
        "virial_parameter_name=REF_virial",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
        f"sparse_jitter={settings.sparse_jitter}",
        f"gp_file={XML_FILE}",
        f"rnd_seed={seed}",
        *_words(settings.extra),
    ]


def descriptors(
    examples: Sequence[Example], settings: GapSettings, species: Sequence[str]
) -> list[str]:
    """One kernel for every pair of species and, with every SOAP, for every species.

    gap_fit stops at a kernel without data, so those are left out.
    """
    numbers = sorted(atomic_numbers[symbol] for symbol in species)
    present = sorted({int(z) for example in examples for z in example.frame.numbers})
    pairs: set[tuple[int, int]] = set()
    if settings.sparse_2b:
        pairs = pairs_within(settings.cutoff_2b, [example.frame for example in examples])
    return [
        *(_two_body(pair, settings) for pair in combinations_with_replacement(numbers, 2)
          if pair in pairs),
        *(_soap(number, numbers, soap) for soap in settings.soap for number in present),
    ]  # fmt: skip


def pairs_within(cutoff: float, frames: Sequence[Frame]) -> set[tuple[int, int]]:
    """Pairs of atomic numbers, the smaller first, that come closer than ``cutoff`` in Å."""
    found: set[tuple[int, int]] = set()
    for frame in frames:
        i, j = neighbor_list("ij", frame.to_atoms(), cutoff)
        pairs = np.sort(np.stack([frame.numbers[i], frame.numbers[j]], axis=1), axis=1)
        found |= {(int(a), int(b)) for a, b in np.unique(pairs, axis=0)}
    return found


def _two_body(pair: tuple[int, int], settings: GapSettings) -> str:
    return (
        f"distance_2b cutoff={settings.cutoff_2b} Z1={pair[0]} Z2={pair[1]} "
        f"covariance_type=ard_se delta={settings.delta_2b} theta_uniform={settings.theta_2b} "
        f"sparse_method=uniform n_sparse={settings.sparse_2b} add_species=F"
    )


def _soap(number: int, numbers: Sequence[int], soap: Soap) -> str:
    return " ".join(
        [
            f"soap cutoff={soap.cutoff} cutoff_transition_width={soap.cutoff_transition_width}",
            f"n_max={soap.n_max} l_max={soap.l_max} atom_sigma={soap.atom_sigma}",
            f"nu_R={soap.nu_R} nu_S={soap.nu_S}",
            f"covariance_type=dot_product zeta={soap.zeta} delta={soap.delta}",
            f"sparse_method={soap.sparse_method} n_sparse={soap.sparse}",
            f"n_species={len(numbers)} species_Z={{{' '.join(map(str, numbers))}}} Z={number}",
            "add_species=F",
            *_words(soap.extra),
        ]
    )


def _words(options: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in options.items()]


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write extended XYZ with every digit: REF_energy in eV, REF_forces in eV/Å, and REF_virial in
    eV where there is a stress."""
    path.write_text("".join(_xyz(example.frame, example.label) for example in examples))


def _xyz(frame: Frame, label: Label) -> str:
    keys = [
        f'Lattice="{_numbers(frame.cell)}"',
        "Properties=species:S:1:pos:R:3:REF_forces:R:3",
        f"REF_energy={label.energy!r}",
        'pbc="T T T"',
    ]
    if label.stress is not None:
        virial = -frame.volume * label.stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
        keys.append(f'REF_virial="{_numbers(virial)}"')
    atoms = [
        f"{chemical_symbols[z]} {_numbers(position)} {_numbers(force)}"
        for z, position, force in zip(frame.numbers, frame.positions, label.forces, strict=True)
    ]
    return "\n".join([str(len(frame)), " ".join(keys), *atoms, ""])


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in values.ravel())


_TARGETS = re.compile(r"Number of target (\w+) \(property name: REF_\w+\) found:\s*(\d+)")


def check_targets(said: str, examples: Sequence[Example]) -> None:
    """Raise GapFitError unless gap_fit says that it learned from every label; it drops what it does
    not like without a word, such as energies of frames without a lattice."""
    found = {kind: int(count) for kind, count in _TARGETS.findall(said)}
    expected = {
        "energies": len(examples),
        "forces": sum(3 * len(e.frame) for e in examples),
        "virials": sum(6 for e in examples if e.label.stress is not None),
    }
    if found != expected:
        raise GapFitError(
            f"gap_fit did not learn from all {len(examples)} examples: expected {expected}, its "
            f"log tells {found}. Another version of quippy-ase than 0.10.3 may write another log."
        )
