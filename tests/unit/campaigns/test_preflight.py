"""The pre-flight with every Doer as it is, in this process instead of in workers."""

import sys
import tempfile
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
import yaml
from puppet import settings

from voltaloop.campaigns import CampaignFile, parse_campaign
from voltaloop.campaigns.preflight import Finding, preflight, runs_code, where_tasks_run
from voltaloop.core import CampaignFolderError
from voltaloop.executors import InlineExecutor

SUPPORT = Path(__file__).parents[2] / "support"
DOERS = ["label", "relax_reference", "train", "explore", "relax_committee", "score"]
POOLS = ["explore", "label", "train"]


class Here:
    """A pool whose tasks run in this process."""

    def start(self, _: Any) -> Executor:
        return InlineExecutor()


class Unreachable:
    """A pool whose cluster does not answer."""

    def start(self, _: Any) -> Executor:
        raise ConnectionError("No scheduler answers at tcp://cluster:8786")


class Full(Executor):
    """A queue in which nothing ever starts."""

    def start(self, _: Any) -> Executor:
        return self

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        return Future()


class Pools:
    """The pools of the campaign; a test puts others in their place."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {name: Here() for name in POOLS}


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Pools:
    found = Pools()
    monkeypatch.setattr("voltaloop.campaigns.preflight.pools_of", lambda _: found.by_name)
    return found


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, and the calculators of the tests can be imported."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.syspath_prepend(SUPPORT)
    return folder


def campaign(**reference: Any) -> CampaignFile:
    two, three = {"rcut": 4.5, "twobody": 5}, {"threebody": 2, "threebody_degree": 2}
    basis = {**two, **three, "fourbody": 0, "fourbody_degree": 0}
    data = settings(
        reference={"engine": "ase", "calculator": "pair_oxide:PairOxide", **reference},
        potential={"engine": "pod", "members": 4, "basis": basis},
    )
    return parse_campaign(yaml.safe_dump(data), "c.yaml")


def found(wanted: CampaignFile, base: Path, *, patience_s: float = 60.0) -> list[Finding]:
    return list(preflight(wanted, base, base / "runs" / "deep", patience_s=patience_s))


@pytest.mark.usefixtures("pools")
def test_every_doer_works_and_nothing_is_left_behind(tmp_path: Path, scratch: Path) -> None:
    findings = found(campaign(), tmp_path)
    assert [one.doer for one in findings] == DOERS
    assert [one.detail for one in findings if not one.ok] == []
    by_doer = {one.doer: one for one in findings}
    assert by_doer["label"].detail.endswith("eV/Å")
    assert "eV/atom, largest force" in by_doer["label"].detail
    assert by_doer["relax_reference"].detail.startswith("bcc Li ")
    assert by_doer["explore"].detail == "MD completed after 20 steps"
    assert {one.pool for one in findings} == set(POOLS)
    assert all(one.run_s is not None and 0 <= one.run_s <= one.seconds for one in findings)
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("pools")
def test_a_broken_reference_fails_and_the_others_are_tried_all_the_same(tmp_path: Path) -> None:
    licence = {"licence": str(tmp_path / "none")}
    findings = found(campaign(calculator="pair_oxide:Licensed", parameters=licence), tmp_path)
    assert [one.doer for one in findings] == DOERS
    assert [one.doer for one in findings if not one.ok] == ["label", "relax_reference"]
    assert findings[0].detail == ("engine_failed: RuntimeError: the licence server does not answer")


def test_a_reference_that_the_workers_do_not_have_is_told_with_the_way_to_install_it(
    tmp_path: Path, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.by_name = {"label": Here()}
    wanted = campaign(
        calculator="pair_oxide:Counted", parameters={"file": str(tmp_path / "counts")}
    )
    monkeypatch.setitem(sys.modules, "pair_oxide", None)
    first = found(wanted, tmp_path)[0]
    assert not first.ok
    assert first.detail.startswith("MissingDependencyError: Cannot import the calculator")
    assert "pip install pair_oxide" in first.detail
    assert "Traceback" in first.trace


def test_a_pool_that_cannot_be_started_is_told_and_the_others_are_tried(
    tmp_path: Path, pools: Pools
) -> None:
    pools.by_name["label"] = Unreachable()
    findings = found(campaign(), tmp_path)
    assert [(one.pool, one.doer) for one in findings if not one.ok] == [("label", "start")]
    assert findings[0].detail == (
        "The pool 'label' cannot be started: No scheduler answers at tcp://cluster:8786"
    )
    assert [one.doer for one in findings if one.ok] == DOERS[2:]


def test_without_a_committee_nothing_is_tried_that_needs_one(tmp_path: Path, pools: Pools) -> None:
    pools.by_name["train"] = Unreachable()
    assert [one.doer for one in found(campaign(), tmp_path)] == ["start", *DOERS[:2]]


def test_a_queue_in_which_nothing_starts_is_told_when_patience_is_over(
    tmp_path: Path, pools: Pools
) -> None:
    pools.by_name = {"label": Full()}
    findings = found(campaign(), tmp_path, patience_s=0.2)
    assert [(one.doer, one.ok) for one in findings] == [(name, False) for name in DOERS[:2]]
    late, next_one = findings
    assert late.detail.startswith("no result within 0.2 s: no worker came")
    assert "--patience" in late.detail
    assert late.seconds >= 0.2
    assert next_one.detail == "not tried: the pool is not free"


def test_a_timeout_of_the_engine_itself_is_not_taken_for_a_full_queue(
    tmp_path: Path, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.by_name = {"label": Here()}

    def late(*_: Any) -> None:
        raise TimeoutError("the licence server took too long")

    monkeypatch.setattr("voltaloop.campaigns.doers.label_frame", late)
    first = found(campaign(), tmp_path)[0]
    assert first.detail == "TimeoutError: the licence server took too long"


def test_what_stood_there_before_stays(tmp_path: Path, pools: Pools) -> None:
    pools.by_name = {"label": Here()}
    kept = tmp_path / "runs" / "other"
    kept.mkdir(parents=True)
    found(campaign(), tmp_path)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["other"]


@pytest.mark.usefixtures("pools")
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(CampaignFolderError, match=r"cannot be made: .* --out"):
        found(campaign(), tmp_path)


def test_what_a_file_executes_is_told_with_its_parameters() -> None:
    wanted = campaign(calculator="pair_oxide:Counted", parameters={"file": "a b", "seconds": 1.5})
    assert runs_code(wanted) == ["reference: pair_oxide:Counted(file='a b', seconds=1.5)"]


def test_commands_of_a_pool_are_told_with_the_pool() -> None:
    pytest.importorskip("parsl")
    pool = {"executor": "parsl", "provider": "local", "worker_init": ["module load lammps"]}
    data = settings(resources={"label": pool, "explore": 3})
    wanted = parse_campaign(yaml.safe_dump(data), "c.yaml")
    assert "resources.label: module load lammps" in runs_code(wanted)
    where = where_tasks_run(wanted)
    assert where["label"].startswith("Parsl: ")
    assert where["explore"] == "3 processes on this machine"
