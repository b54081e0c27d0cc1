"""How fast the potential learns and runs: retraining, design rows, molecular dynamics.

The frames are rattled and strained LiNiO2 orderings of 13 to 16 atoms with made-up labels: the time
does not depend on the numbers. One core, threads pinned.
"""

import os
import tempfile
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from output import finish, parser

from voltaloop.core import Frame, Label
from voltaloop.core.training import Example
from voltaloop.crystals import load_structure, orderings, starting_frames, supercell
from voltaloop.exploration import MdLimits, MdPlan, run_md
from voltaloop.potentials.pod import Pod, PodSettings
from voltaloop.store import ArtifactStore

SPECIES = ("O", "Ni", "Li")


def frames(count: int, contents: tuple[float, ...]) -> list[Frame]:
    """Starting frames of the contents in turn."""
    full = supercell(load_structure("LiNiO2"), (2, 2, 1))
    kinds = [orderings(full, x, limit=1, seed=1)[0].frame for x in contents]
    share = -(-count // len(kinds))
    made = [
        starting_frames(kind, count=share, rattle=0.08, strain=0.02, seed=i)
        for i, kind in enumerate(kinds)
    ]
    return [frame for turn in zip(*made, strict=True) for frame in turn][:count]


def spring_label(frame: Frame) -> Label:
    """Springs between neighbours: smooth, so that the potential can learn it and run."""
    from ase.neighborlist import neighbor_list

    i, vectors, distances = neighbor_list("iDd", frame.to_atoms(), 3.0)
    stretch = distances - 2.3
    pull = 3.0 * (stretch / distances)[:, None] * vectors
    forces = np.zeros((len(frame), 3))
    np.add.at(forces, i, pull)
    virial = 0.5 * np.einsum("na,nb->ab", pull, vectors)
    stress = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / frame.volume
    return Label(energy=0.75 * float(np.sum(stretch**2)), forces=forces, stress=stress)


def retraining(size: str, n_frames: int, n_new: int, n_atoms_full: bool) -> dict[str, float]:
    """Seconds to add ``n_new`` labels to a committee of 8 trained on ``n_frames``."""
    contents = (1.0,) if n_atoms_full else (1.0, 0.75, 0.5, 0.25)
    made = frames(n_frames + n_new, contents)
    examples = [Example(key=f.digest, frame=f, label=spring_label(f)) for f in made]
    potential = Pod(PodSettings(members=8, basis=size))
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(folder)
        start = time.perf_counter()
        first = potential.train(SPECIES, examples[:n_frames], store)
        middle = time.perf_counter()
        potential.train(SPECIES, examples, store, first.hyperparameters)
        end = time.perf_counter()
    return {"first_s": middle - start, "retrain_s": end - middle}


def dynamics(size: str, steps: int) -> float:
    """Atom-steps per second of bare MD (NPT) with a trained committee mean, without assessment."""
    made = frames(40, (1.0,))
    examples = [Example(key=f.digest, frame=f, label=spring_label(f)) for f in made]
    with tempfile.TemporaryDirectory() as folder:
        trained = Pod(PodSettings(members=8, basis=size)).train(
            SPECIES, examples, ArtifactStore(folder)
        )
    start_frame = orderings(
        supercell(load_structure("LiNiO2"), (2, 2, 1)), 1.0, limit=1, seed=1
    )[0].frame
    plan = MdPlan(
        ensemble="nvt",
        temperature_from=100,
        temperature_to=100,
        steps=steps,
        sample_every=steps,
        seed=1,
    )
    begin = time.perf_counter()
    result = run_md(start_frame, trained.committee, plan, MdLimits(volume_high=10.0))
    seconds = time.perf_counter() - begin
    if result.outcome != "completed":
        raise SystemExit(f"the benchmark's run ended as {result.outcome}: {result.detail}")
    return len(start_frame) * result.steps / seconds


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=300)
    arguments.add_argument("--new", type=int, default=8)
    arguments.add_argument("--steps", type=int, default=3000)
    arguments.add_argument("--basis", nargs="+", default=["medium", "large"])
    given = arguments.parse_args()
    result: dict[str, object] = {"benchmark": "potential", "frames": given.frames, "new": given.new}
    for size in given.basis:
        times = retraining(size, given.frames, given.new, n_atoms_full=True)
        speed = dynamics(size, given.steps)
        print(
            f"{size}: first training {times['first_s']:.1f} s, retraining {times['retrain_s']:.2f} s "
            f"(asked: at most 10), MD {speed:.0f} atom-steps/s (asked: at least 5000)"
        )
        result[size] = {**times, "md_atom_steps_per_s": speed}
    finish(result, given.json)


if __name__ == "__main__":
    main()
