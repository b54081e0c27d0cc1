import json
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from voltaloop.campaigns import parse_campaign
from voltaloop.cli.app import app
from voltaloop.core import CampaignFileError, CampaignFolderError, StructureError, VoltaloopError

COMMANDS = ("init", "validate", "run", "status", "report", "plot", "export", "schema")
FILE = "name: lno\nmaterial: {structure: LiNiO2}\n"
FAST_CHECKS = "reference: {engine: ase, calculator: 'ase.calculators.emt:EMT'}\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def voltaloop(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refusal(kind: type[VoltaloopError], *arguments: str) -> str:
    """The text of the error that the command ends with."""
    result = voltaloop(*arguments)
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def test_the_version_is_that_of_the_package() -> None:
    result = voltaloop("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, f"voltaloop {version('voltaloop')}")


def test_without_a_command_the_help_is_shown_with_the_way_to_begin() -> None:
    result = voltaloop()
    assert "voltaloop init NAME, then voltaloop run NAME.yaml" in result.output
    for command in COMMANDS:
        assert command in result.output


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("init", ["every key, its default, its unit", "NAME.yaml"]),
        ("validate", ["keys, units, the structure, lithium contents", "Exit code 2"]),
        ("run", ["runs/NAME", "Ctrl-C or SIGTERM", "130: stopped", "--quiet", "answer.json"]),
        ("status", ["labels, errors, running tasks", "runs/NAME"]),
        ("report", ["opens offline", "DIR/report.html"]),
        ("plot", ["training: loss and error curves", "never trained on", "forces in eV/Å"]),
        ("export", ["energies in eV, forces in eV/Å, stress in eV/Å3", "default: extxyz"]),
        ("schema", ["JSON schema of the campaign file"]),
    ],
)
def test_the_help_of_every_command_says_what_it_does_with_units_and_defaults(
    command: str, words: list[str]
) -> None:
    result = voltaloop(command, "--help")
    assert result.exit_code == 0
    shown = " ".join(result.output.replace("│", " ").split())
    for word in words:
        assert word in shown


def test_init_writes_a_campaign_file_that_is_valid() -> None:
    result = voltaloop("init", "lno")
    assert result.exit_code == 0
    assert "voltaloop validate lno.yaml; voltaloop run lno.yaml" in " ".join(result.stdout.split())
    assert parse_campaign(Path("lno.yaml").read_text(), "lno.yaml").name == "lno"


def test_init_writes_where_it_is_told() -> None:
    assert voltaloop("init", "lno", "--out", "other.yaml").exit_code == 0
    assert [path.name for path in Path().iterdir()] == ["other.yaml"]


def test_init_overwrites_nothing() -> None:
    Path("lno.yaml").write_text("precious")
    assert "exists already; nothing was written" in refusal(CampaignFileError, "init", "lno")
    assert Path("lno.yaml").read_text() == "precious"


@pytest.mark.parametrize("name", ["a/b", "../up", "two words", "x" * 65])
def test_init_refuses_a_name_that_is_no_folder_name(name: str) -> None:
    assert "name: " in refusal(CampaignFileError, "init", name)
    assert list(Path().iterdir()) == []


def test_init_takes_a_name_that_yaml_would_read_as_a_number() -> None:
    assert voltaloop("init", "2026").exit_code == 0
    assert yaml.safe_load(Path("2026.yaml").read_text())["name"] == "2026"


def test_init_says_where_it_cannot_write() -> None:
    text = refusal(CampaignFileError, "init", "lno", "--out", "nowhere/lno.yaml")
    assert "nowhere/lno.yaml cannot be written: No such file" in text


def test_validate_sums_up_a_good_file_and_writes_nothing() -> None:
    Path("lno.yaml").write_text(FILE + FAST_CHECKS)
    result = voltaloop("validate", "lno.yaml")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert "lno.yaml is valid: LiNiO2, 16 atoms, " in shown
    assert "x = 1, 0.75, 0.5, 0.25, 0; reference ase, potential pod" in shown
    assert [path.name for path in Path().iterdir()] == ["lno.yaml"]


def test_validate_finds_a_structure_file_beside_the_campaign_file() -> None:
    Path("there").mkdir()
    material = "material: {structure: mine.cif}\n"
    Path("there/lno.yaml").write_text("name: lno\n" + material + FAST_CHECKS)
    text = refusal(StructureError, "validate", "there/lno.yaml")
    assert f"No structure file '{Path('there/mine.cif').resolve()}'" in text


def test_validate_names_every_mistake() -> None:
    Path("lno.yaml").write_text(FILE + "stop: {labels: 0, wall_time: 10}\n")
    text = refusal(CampaignFileError, "validate", "lno.yaml")
    assert "stop.labels" in text
    assert "stop.wall_time" in text


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_missing_campaign_file_is_said(command: str) -> None:
    text = refusal(CampaignFileError, command, "none.yaml")
    assert "There is no campaign file none.yaml" in text
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", ["status", "report", "plot training", "plot parity", "export"])
def test_reading_a_folder_that_is_none_is_refused(command: str) -> None:
    assert "is no campaign folder" in refusal(CampaignFolderError, *command.split(), "runs/none")
    assert list(Path().iterdir()) == []


def test_an_unknown_export_format_is_refused_with_the_known_ones() -> None:
    result = voltaloop("export", "runs/none", "--format", "vasp")
    assert result.exit_code == 2
    assert "'extxyz', 'deepmd', 'ase-db'" in result.output


def test_the_schema_describes_every_key_of_the_file() -> None:
    result = voltaloop("schema")
    schema = json.loads(result.stdout)
    assert set(schema["required"]) == {"name", "material"}
    assert schema["additionalProperties"] is False
    stop = schema["$defs"]["Stop"]["properties"]
    assert stop["wall_time"]["type"] == "string"
    assert "in V" in stop["voltage_V"]["description"]
    missing = [
        f"{name}.{key}"
        for name, part in schema["$defs"].items()
        for key, value in part["properties"].items()
        if not value.get("description")
    ]
    assert missing == []


def test_a_run_that_is_refused_writes_nothing() -> None:
    Path("lno.yaml").write_text(FILE + FAST_CHECKS + "audit: {labels: -1}\n")
    assert "audit.labels" in refusal(CampaignFileError, "run", "lno.yaml")
    assert [path.name for path in Path().iterdir()] == ["lno.yaml"]


def test_a_refused_run_shows_no_progress() -> None:
    Path("lno.yaml").write_text(FILE + FAST_CHECKS)
    Path("runs").write_text("a file in the way")
    result = voltaloop("run", "lno.yaml")
    assert isinstance(result.exception, CampaignFolderError)
    assert result.output == ""
