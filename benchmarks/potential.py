"""How fast the potential learns and runs: retraining, design rows, molecular dynamics.

The frames are rattled and strained LiNiO2 orderings of 13 to 16 atoms labelled by CHGNet with D3.
Run it on one core: OMP_NUM_THREADS=1 python benchmarks/potential.py
"""

import tempfile
import time

from output import finish, parser

from voltaloop.core import Frame
from voltaloop.core.contracts import Committee
from voltaloop.core.training import Example
from voltaloop.crystals import load_structure, orderings, starting_frames, supercell
from voltaloop.exploration import MdLimits, MdPlan, run_md
from voltaloop.potentials.pod import Pod, PodSettings
from voltaloop.references import Gate, build_reference, label_frame
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


def labelled(made: list[Frame]) -> list[Example]:
    """The frames with labels of CHGNet and D3."""
    reference, gate = build_reference("chgnet", {}), Gate()
    return [Example(key=f.digest, frame=f, label=label_frame(reference, f, gate)) for f in made]


def retraining(
    size: str, examples: list[Example], n_new: int
) -> tuple[dict[str, float], Committee]:
    """Seconds to add the last ``n_new`` examples to a committee of 8 trained on the others."""
    potential = Pod(PodSettings(members=8, basis=size))
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(folder)
        start = time.perf_counter()
        first = potential.train(SPECIES, examples[:-n_new], store)
        middle = time.perf_counter()
        second = potential.train(SPECIES, examples, store, first.hyperparameters)
        end = time.perf_counter()
    return {"first_s": middle - start, "retrain_s": end - middle}, second.committee


def dynamics(committee: Committee, steps: int) -> float:
    """Atom-steps per second of NPT at 300 K with the committee mean, without assessment."""
    start = orderings(supercell(load_structure("LiNiO2"), (2, 2, 1)), 1.0, limit=1, seed=1)[0].frame
    plan = MdPlan(
        ensemble="npt",
        temperature_from=300,
        temperature_to=300,
        steps=steps,
        sample_every=50,
        seed=1,
    )
    begin = time.perf_counter()
    result = run_md(start, committee, plan, MdLimits())
    seconds = time.perf_counter() - begin
    if result.outcome != "completed":
        print(f"the run ended as {result.outcome} after {result.steps} steps: {result.detail}")
    return len(start) * result.steps / seconds


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=300)
    arguments.add_argument("--new", type=int, default=8)
    arguments.add_argument("--steps", type=int, default=3000)
    arguments.add_argument("--basis", nargs="+", default=["medium", "large"])
    given = arguments.parse_args()
    result: dict[str, object] = {"benchmark": "potential", "frames": given.frames, "new": given.new}
    examples = labelled(frames(given.frames + given.new, (1.0, 0.75, 0.5, 0.25)))
    for size in given.basis:
        times, committee = retraining(size, examples, given.new)
        speed = dynamics(committee, given.steps)
        print(
            f"{size}: first training {times['first_s']:.1f} s, "
            f"retraining {times['retrain_s']:.2f} s (asked: at most 10), "
            f"MD {speed:.0f} atom-steps/s (asked: at least 5000)"
        )
        result[size] = {**times, "md_atom_steps_per_s": speed}
    finish(result, given.json)


if __name__ == "__main__":
    main()
