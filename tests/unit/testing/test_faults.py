import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.spacegroup import crystal
from pydantic import ValidationError

from voltaloop.campaigns.file import parse_campaign
from voltaloop.core import (
    FAILURE_REASONS,
    CampaignFileError,
    Frame,
    Label,
    MissingDependencyError,
    ReferenceFailure,
    StorageError,
)
from voltaloop.executors import (
    LocalProcesses,
    RemoteError,
    TaskOutOfMemory,
    TaskTimeout,
    WorkerDied,
)
from voltaloop.references import REFERENCES, Gate, label_frame
from voltaloop.references.ase_calculator import AseCalculator
from voltaloop.testing import EXPECTED, KINDS, Faulty, FaultySettings, planned_fault, tries

PATIENCE_S = 60.0
SUPPORT = Path(__file__).parents[2] / "support"
OXIDE = {"engine": "ase", "calculator": "magnetic_oxide:MagneticOxide"}
PLAIN_OXIDE = {"engine": "ase", "calculator": "pair_oxide:PairOxide"}
WITHOUT_LITHIUM = {"engine": "ase", "calculator": "ase.calculators.emt:EMT"}


@pytest.fixture(autouse=True, scope="module")
def _calculators() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SUPPORT)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "faults"


def faulty(folder: Path, *kinds: str, fate: str = "lasting", **options: Any) -> Faulty:
    """A reference all of whose frames meet a fault."""
    return Faulty(
        FaultySettings(
            **{"wraps": OXIDE, "rate": 1.0, **options},
            folder=str(folder),
            kinds=kinds or KINDS,
            fates={fate: 1.0},
        )
    )


def oxide(seed: int, n_lithium: int = 4) -> Frame:
    """Rattled Li(n/4)NiO2 of four formula units."""
    atoms = crystal(
        ["Li", "Ni", "O"],
        [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2585)],
        spacegroup=166,
        cellpar=[2.878, 2.878, 14.19, 90, 90, 120],
        primitive_cell=True,
    ).repeat((2, 2, 1))
    del atoms[np.flatnonzero(atoms.numbers == 3)[n_lithium:]]
    atoms.rattle(0.05, seed=seed)
    return Frame.from_atoms(atoms)


def lithium(count: int) -> list[Frame]:
    """Frames that differ by their cell."""
    numbers, positions = np.array([3]), np.zeros((1, 3))
    return [
        Frame(numbers=numbers, positions=positions, cell=np.eye(3) * (3 + n / 1024))
        for n in range(count)
    ]


def same(label: Label, other: Label) -> bool:
    return label.to_json() == other.to_json()


def read_tries(reference: Faulty, frame: Frame) -> list[tuple[str, int, bool]]:
    found = tries(reference.settings.folder)[frame.digest]
    return [(one.kind, one.number, one.injected) for one in found]


# The plan


def test_the_plan_is_the_same_on_every_machine_and_in_every_version(folder: Path) -> None:
    settings = FaultySettings(wraps=OXIDE, folder=str(folder), rate=0.5, seed=7)
    faults = [planned_fault(settings, frame) for frame in lithium(12)]
    assert [fault and (fault.kind, fault.fate) for fault in faults] == [
        None,
        ("raise", "lasting"),
        ("huge_forces", "cured"),
        ("flipped_moments", "cured"),
        None,
        None,
        None,
        None,
        ("huge_forces", "lasting"),
        None,
        ("late", "cured"),
        ("flipped_moments", "passing"),
    ]


def test_the_shares_of_rate_kinds_and_fates_are_kept(folder: Path) -> None:
    settings = FaultySettings(wraps=OXIDE, folder=str(folder), rate=0.5)
    faults = [fault for frame in lithium(4000) if (fault := planned_fault(settings, frame))]
    assert len(faults) == pytest.approx(2000, abs=130)
    kinds = Counter(fault.kind for fault in faults)
    assert set(kinds) == set(KINDS)
    assert max(kinds.values()) < 1.35 * min(kinds.values())
    fates = Counter(fault.fate for fault in faults)
    assert fates["passing"] == pytest.approx(len(faults) * 0.5, abs=100)
    assert fates["cured"] == pytest.approx(len(faults) * 0.25, abs=100)


def test_a_higher_rate_adds_faults_and_changes_none(folder: Path) -> None:
    few, many = (faulty(folder, rate=rate).settings for rate in (0.1, 0.4))
    pairs = [(planned_fault(few, frame), planned_fault(many, frame)) for frame in lithium(300)]
    assert 0 < sum(a is not None for a, _ in pairs) < sum(b is not None for _, b in pairs)
    assert all(b == a for a, b in pairs if a is not None)


def test_another_seed_gives_another_plan_and_the_order_of_kinds_none(folder: Path) -> None:
    def plan(seed: int, kinds: tuple[str, ...]) -> list[Any]:
        settings = FaultySettings(wraps=OXIDE, folder=str(folder), seed=seed, kinds=kinds)
        return [planned_fault(settings, frame) for frame in lithium(50)]

    assert plan(1, KINDS) == plan(1, KINDS[::-1])
    assert plan(1, KINDS) != plan(2, KINDS)


def test_the_plan_does_not_hang_on_the_try_or_on_times(folder: Path) -> None:
    plain, changed = faulty(folder), faulty(folder, rung=1, hang_s=1.0, tries=5)
    for frame in lithium(20):
        assert planned_fault(plain.settings, frame) == planned_fault(changed.settings, frame)


def test_at_rate_zero_every_label_is_right_and_nothing_is_written(folder: Path) -> None:
    reference = faulty(folder, rate=0.0)
    frame = oxide(1)
    assert same(reference.label(frame), reference.wrapped.label(frame))
    assert not folder.exists()


def test_every_kind_has_its_right_outcome() -> None:
    assert set(EXPECTED) == set(KINDS)
    assert all(reasons and reasons <= set(FAILURE_REASONS) for reasons in EXPECTED.values())


# What each kind does


@pytest.mark.parametrize(
    "kind", ["not_converged", "unconverged_label", "nan", "huge_forces", "half_file"]
)
def test_the_gate_refuses_it_for_the_right_reason(folder: Path, kind: str) -> None:
    reference = faulty(folder, kind)
    for seed in range(6):
        with pytest.raises(ReferenceFailure) as caught:
            label_frame(reference, oxide(seed), Gate())
        assert caught.value.reason in EXPECTED[kind]


def test_a_calculation_that_does_not_converge_leaves_its_last_steps(folder: Path) -> None:
    with pytest.raises(ReferenceFailure, match="not_converged: after 200 iterations") as caught:
        faulty(folder, "not_converged").label(oxide(1))
    assert caught.value.files["scf.txt"].splitlines()[-1].startswith("iter 200")


def test_an_unconverged_label_has_another_energy_and_says_what_it_is(folder: Path) -> None:
    reference, frame = faulty(folder, "unconverged_label"), oxide(1)
    label = reference.label(frame)
    assert not label.converged
    assert label.details["injected_fault"] == "unconverged_label"
    right = reference.wrapped.label(frame)
    assert label.energy - right.energy == pytest.approx(0.05 * len(frame))


def test_nan_comes_in_every_part_of_a_label_one_number_at_a_time(folder: Path) -> None:
    reference = faulty(folder, "nan")
    places = set()
    for seed in range(30):
        label = reference.label(oxide(seed))
        parts = {
            name: int(np.isnan(getattr(label, name)).sum())
            for name in ("energy", "forces", "stress", "magmoms")
        }
        assert sum(parts.values()) == 1
        places |= {name for name, count in parts.items() if count}
    assert places == {"energy", "forces", "stress", "magmoms"}


def test_a_huge_force_is_on_one_atom(folder: Path) -> None:
    label = faulty(folder, "huge_forces").label(oxide(1))
    norms = np.sort(np.linalg.norm(label.forces, axis=1))
    assert norms[-1] == pytest.approx(1e4)
    assert norms[-2] < 10


def test_a_flip_turns_one_or_half_of_the_moments_and_costs_energy(folder: Path) -> None:
    reference = faulty(folder, "flipped_moments")
    turned = set()
    for seed in range(12):
        frame = oxide(seed)
        label, right = reference.label(frame), reference.wrapped.label(frame)
        assert label.magmoms is not None
        assert right.magmoms is not None
        np.testing.assert_array_equal(np.abs(label.magmoms), np.abs(right.magmoms))
        turned.add(int((label.magmoms != right.magmoms).sum()))
        assert label.energy - right.energy == pytest.approx(4 * 0.15)
        assert 0 < np.abs(label.forces - right.forces).max() < 0.2
        np.testing.assert_allclose(label.forces.sum(axis=0), right.forces.sum(axis=0), atol=1e-9)
        assert label.converged
    assert turned == {1, 2}


def test_a_flip_changes_the_total_moment_that_an_engine_gives(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = AseCalculator.label
    monkeypatch.setattr(
        AseCalculator,
        "label",
        lambda self, frame: replace(plain(self, frame), details={"total_magmom_muB": 4.5}),
    )
    reference, frame = faulty(folder, "flipped_moments"), oxide(1)
    label, right = reference.label(frame), reference.wrapped.label(frame)
    assert label.magmoms is not None
    assert right.magmoms is not None
    change = label.magmoms.sum() - right.magmoms.sum()
    assert change < -1
    assert label.details["total_magmom_muB"] == pytest.approx(4.5 + change)


@pytest.mark.parametrize("wraps", [OXIDE, PLAIN_OXIDE])
def test_without_a_moment_to_flip_another_kind_is_met(folder: Path, wraps: dict[str, Any]) -> None:
    reference = faulty(folder, "flipped_moments", "nan", wraps=wraps)
    frames = [oxide(seed, n_lithium=0) for seed in range(8)]
    faults = [planned_fault(reference.settings, frame) for frame in frames]
    assert {fault.kind for fault in faults if fault} == {"flipped_moments", "nan"}
    for fault, frame in zip(faults, frames, strict=True):
        assert fault is not None
        assert fault.otherwise == ("nan" if fault.kind == "flipped_moments" else None)
        assert reference.label(frame).details["injected_fault"] == "nan"
        assert read_tries(reference, frame) == [("nan", 1, True)]


def test_without_a_moment_to_flip_and_another_kind_the_label_is_right(folder: Path) -> None:
    reference = faulty(folder, "flipped_moments", wraps=PLAIN_OXIDE)
    frame = oxide(1)
    assert same(reference.label(frame), reference.wrapped.label(frame))
    assert not folder.exists()


def test_half_a_file_fails_where_it_is_read(folder: Path) -> None:
    with pytest.raises(json.JSONDecodeError):
        faulty(folder, "half_file").label(oxide(1))


def test_a_late_label_is_the_right_one(folder: Path) -> None:
    reference, frame = faulty(folder, "late", late_s=0.01), oxide(1)
    assert same(reference.label(frame), reference.wrapped.label(frame))
    assert read_tries(reference, frame) == [("late", 1, True)]


def test_a_hang_that_nobody_ends_says_so(folder: Path) -> None:
    reference = faulty(folder, "hang", hang_s=0.01)
    for seed in range(4):
        with pytest.raises(RuntimeError, match=r"after hang_s = 0\.01 s because nobody ended it"):
            reference.label(oxide(seed))


def test_memory_that_nobody_limits_ends_in_a_memory_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voltaloop.testing.faults._MEMORY_HOLD_S", 0.0)
    with pytest.raises(MemoryError, match=r"no more memory after 0\.1 GB"):
        faulty(folder, "out_of_memory", memory_GB=0.1).label(oxide(1))


def test_what_is_raised_is_of_many_types_and_some_cannot_be_pickled(folder: Path) -> None:
    reference = faulty(folder, "raise")
    raised = {type(error): error for seed in range(40) if (error := error_of(reference, seed))}
    assert len(raised) == 6
    assert {RuntimeError, KeyError, SystemExit} < set(raised)
    unportable = [error for error in raised.values() if not survives_pickling(error)]
    assert [str(error) for error in unportable] == ["eigensolver at step 7 (injected)"]


def error_of(reference: Faulty, seed: int) -> BaseException | None:
    try:
        reference.label(oxide(seed))
    except BaseException as error:  # noqa: BLE001 - every kind of ending is meant
        return error
    return None


def survives_pickling(error: BaseException) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever pickle raises means no
        return False


# In the processes of a pool


@pytest.fixture(scope="module")
def pool() -> Iterator[LocalProcesses]:
    with LocalProcesses(workers=2, preload="voltaloop.testing.faults") as pool:
        yield pool


def test_a_segmentation_fault_ends_the_worker_and_passes(
    folder: Path, pool: LocalProcesses
) -> None:
    reference, frame = faulty(folder, "segfault", fate="passing"), oxide(1)
    assert isinstance(pool.submit(reference.label, frame).exception(PATIENCE_S), WorkerDied)
    assert read_tries(reference, frame) == [("segfault", 1, True)]
    label = pool.submit(reference.label, frame).result(PATIENCE_S)
    assert same(label, reference.wrapped.label(frame))
    assert read_tries(reference, frame) == [("segfault", 1, True), ("segfault", 2, False)]


def test_a_segmentation_fault_leaves_no_traceback_and_no_core_file(
    folder: Path, tmp_path: Path
) -> None:
    job = tmp_path / "job.pickle"
    job.write_bytes(pickle.dumps((faulty(folder, "segfault"), oxide(1))))
    program = "import pickle; reference, frame = pickle.load(open('job.pickle', 'rb')); "
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", f"{program} reference.label(frame)"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SUPPORT)},
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-11, b"", b"")
    assert {path.name for path in tmp_path.iterdir()} == {"job.pickle", "faults"}


def test_what_hangs_or_is_late_is_ended_by_the_time_limit(folder: Path) -> None:
    hanging, late = faulty(folder, "hang"), faulty(folder, "late")
    frames = [oxide(seed) for seed in range(4)]
    with LocalProcesses(
        workers=2, preload="voltaloop.testing.faults", task_timeout_s=2.0
    ) as limited:
        futures = [limited.submit(hanging.label, frame) for frame in frames[1:]]
        futures.append(limited.submit(late.label, frames[0]))
        for future in futures:
            assert isinstance(future.exception(PATIENCE_S), TaskTimeout)
    met = [read_tries(hanging, frame) for frame in frames]
    assert met == [[("late", 1, True)], *[[("hang", 1, True)]] * 3]


def test_full_memory_is_real_and_ended_by_the_memory_limit(folder: Path) -> None:
    reference, frame = faulty(folder, "out_of_memory", memory_GB=1.2), oxide(1)
    with LocalProcesses(
        workers=1, preload="voltaloop.testing.faults", memory_limit_GB=0.8
    ) as limited:
        ended = limited.submit(reference.label, frame).exception(PATIENCE_S)
    assert isinstance(ended, TaskOutOfMemory)
    assert read_tries(reference, frame) == [("out_of_memory", 1, True)]


def test_an_exception_that_cannot_be_pickled_arrives_under_its_name(
    folder: Path, pool: LocalProcesses
) -> None:
    reference = faulty(folder, "raise")
    seed = next(n for n in range(40) if type(error_of(reference, n)).__name__ == "_Unportable")
    ended = pool.submit(reference.label, oxide(seed)).exception(PATIENCE_S)
    assert isinstance(ended, RemoteError)
    assert str(ended) == "_Unportable: eigensolver at step 7 (injected)"


def test_tries_are_counted_over_all_processes(folder: Path, pool: LocalProcesses) -> None:
    reference, frame = faulty(folder, "nan", fate="passing", tries=5), oxide(1)
    futures = [pool.submit(reference.label, frame) for _ in range(18)]
    labels = [reference.label(frame), reference.label(frame)]
    labels += [future.result(PATIENCE_S) for future in futures]
    right = reference.wrapped.label(frame)
    assert sum(same(label, right) for label in labels) == 15
    found = tries(folder)[frame.digest]
    assert [one.number for one in found] == list(range(1, 21))
    assert [one.injected for one in found] == [True] * 5 + [False] * 15
    assert sum(one.pid == os.getpid() for one in found) == 2
    assert {one.pid for one in found} <= {os.getpid(), *pool.pids}


def test_tries_are_counted_over_all_threads(folder: Path) -> None:
    reference, frame = faulty(folder, "not_converged"), oxide(1)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: error_of(reference, 1), range(40)))
    assert [one.number for one in tries(folder)[frame.digest]] == list(range(1, 41))


# Fates


def test_a_passing_fault_is_gone_after_its_tries(folder: Path) -> None:
    reference, frame = faulty(folder, "unconverged_label", fate="passing", tries=2), oxide(1)
    converged = [reference.label(frame).converged for _ in range(4)]
    assert converged == [False, False, True, True]


def test_a_fault_that_the_ladder_cures_stays_until_its_first_rung(folder: Path) -> None:
    reference, frame = faulty(folder, "unconverged_label", fate="cured"), oxide(1)
    assert [reference.label(frame).converged for _ in range(3)] == [False] * 3
    (rung,) = Faulty.LADDER
    options = rung.applied_to(reference.settings.model_dump())
    climbed = Faulty(FaultySettings.model_validate(options))
    assert same(climbed.label(frame), reference.wrapped.label(frame))
    found = tries(folder)[frame.digest]
    assert [(one.rung, one.injected) for one in found] == [(0, True)] * 3 + [(1, False)]


def test_the_ladder_is_tried_against_every_failure() -> None:
    assert set(Faulty.LADDER[0].reasons) == set(FAILURE_REASONS)


def test_a_lasting_fault_comes_back_the_same_at_every_try(folder: Path) -> None:
    first, climbed = faulty(folder, "nan"), faulty(folder, "nan", rung=1)
    labels = [reference.label(oxide(1)).to_json() for reference in (first, first, climbed)]
    assert json.dumps(labels[0]) == json.dumps(labels[1]) == json.dumps(labels[2])


def test_a_reference_that_fails_by_itself_meets_no_fault(folder: Path) -> None:
    reference = faulty(folder, "nan", wraps=WITHOUT_LITHIUM)
    with pytest.raises(NotImplementedError, match="No EMT-potential for Li"):
        reference.label(oxide(1))
    assert not folder.exists()


# The record


def test_a_record_says_who_tried_when(folder: Path) -> None:
    reference, frame = faulty(folder, "huge_forces", rung=0), oxide(1)
    reference.label(frame)
    (found,) = tries(folder)[frame.digest]
    assert (found.frame, found.kind, found.rung) == (frame.digest, "huge_forces", 0)
    assert found.time > 1.7e9
    assert found.pid > 1


def test_a_line_whose_writer_was_killed_is_no_try(folder: Path) -> None:
    reference, frame = faulty(folder, "nan"), oxide(1)
    reference.label(frame)
    file = folder / f"{frame.digest}.jsonl"
    with file.open("ab") as torn:
        torn.write(b'{"frame": "12')
    assert read_tries(reference, frame) == [("nan", 1, True)]
    reference.label(frame)
    assert read_tries(reference, frame) == [("nan", 1, True), ("nan", 2, True)]
    assert len(file.read_bytes().splitlines()) == 2


def test_a_frame_whose_only_writer_was_killed_has_no_try(folder: Path) -> None:
    folder.mkdir()
    (folder / f"{oxide(1).digest}.jsonl").write_bytes(b'{"frame": ')
    assert tries(folder) == {}


def test_nothing_is_injected_that_cannot_be_written_down(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reference = faulty(tmp_path / "file" / "faults", "segfault")
    message = r"folder .*file/faults of the reference 'faulty' cannot be used: Not a directory\."
    with pytest.raises(StorageError, match=message):
        reference.label(oxide(1))
    with pytest.raises(StorageError, match=message):
        reference.check_installed()


def test_a_full_disk_is_told_before_anything_is_injected(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voltaloop.testing.faults.os.write", lambda *_: 3)
    with pytest.raises(StorageError, match="cannot be used: No space left on device"):
        faulty(folder, "segfault").label(oxide(1))


def test_a_folder_that_is_not_there_has_no_tries_to_read(folder: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot be used: No such file or directory\."):
        tries(folder)


# The engine


def test_check_installed_makes_the_folder_and_asks_the_wrapped_reference(folder: Path) -> None:
    faulty(folder).check_installed()
    assert list(folder.iterdir()) == []
    missing = {"engine": "ase", "calculator": "no_such_package.calculators:Mine"}
    with pytest.raises(MissingDependencyError, match="pip install no_such_package"):
        faulty(folder, wraps=missing).check_installed()


def test_it_executes_what_the_wrapped_reference_executes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "import magnetic_oxide:MagneticOxide"
    monkeypatch.setattr(AseCalculator, "executes", lambda _: [told], raising=False)
    assert faulty(folder).executes() == [f"wraps: {told}"]


def test_importing_it_loads_no_engine() -> None:
    code = "import json, sys, voltaloop.testing.faults; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {"torch", "lammps", "chgnet", "gpaw", "tblite", "plotly"}
    assert heavy.isdisjoint(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wraps": {}}, r"expected the name of a reference as `engine`.*\{engine: chgnet\}"),
        ({"wraps": {"engine": "faulty"}}, "a reference other than 'faulty', which cannot wrap"),
        ({"wraps": {"engine": "chgnett"}}, "Unknown reference 'chgnett'. Did you mean 'chgnet'?"),
        (
            {"wraps": {"engine": "tblite", "methd": "GFN1-xTB"}},
            "Settings of reference 'tblite': Unknown key 'methd'. Did you mean 'method'?",
        ),
        ({"wraps": {"engine": "ase"}}, "Settings of reference 'ase': calculator: Field required"),
        ({"folder": "faults"}, "expected an absolute path, .* got 'faults'; here that would be '/"),
        ({"kinds": ["nann"]}, "'not_converged', .*'late'.*got 'nann'"),
        ({"kinds": []}, r"expected one or more different kinds, got \[\].* set rate to 0"),
        ({"kinds": ["nan", "nan"]}, r"different kinds, got \['nan', 'nan'\]"),
        ({"fates": {"passing": 0.5}}, "passing, cured, lasting .* add up to 1"),
        ({"fates": {"passing": 1.5, "lasting": -0.5}}, "not negative and add up to 1"),
        ({"fates": {"gone": 1.0}}, "'passing', 'cured' or 'lasting'"),
        ({"rate": 1.5}, "less than or equal to 1"),
        ({"rat": 0.5}, "unknown key 'reference.rat'. Did you mean 'rate'?"),
    ],
)
def test_a_campaign_file_with_bad_options_is_refused_with_a_clear_text(
    monkeypatch: pytest.MonkeyPatch, folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CampaignFileError, match=f"(?s)camp.yaml.*{message}"):
        parse_campaign(campaign_with(monkeypatch, folder, options), "camp.yaml")


def test_a_campaign_file_may_name_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    campaign = parse_campaign(campaign_with(monkeypatch, folder, {"kinds": ["nan"]}), "camp.yaml")
    settings = FaultySettings.model_validate(campaign.reference.options)
    assert settings.kinds == ("nan",)
    assert same(Faulty(settings).wrapped.label(oxide(1)), faulty(folder).wrapped.label(oxide(1)))


def campaign_with(monkeypatch: pytest.MonkeyPatch, folder: Path, options: dict[str, Any]) -> str:
    monkeypatch.setitem(REFERENCES.builtin, "faulty", "voltaloop.testing.faults:Faulty")
    reference = {"engine": "faulty", "wraps": OXIDE, "folder": str(folder), **options}
    return json.dumps({"name": "camp", "material": {"structure": "LiNiO2"}, "reference": reference})


def test_the_folder_has_no_default() -> None:
    with pytest.raises(ValidationError, match=r"folder\n +Field required"):
        FaultySettings(wraps=OXIDE)
