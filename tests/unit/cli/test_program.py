"""The installed program as a shell sees it: exit codes, standard output and standard error."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "voltaloop")
GOOD = "name: lno\nmaterial: {structure: LiNiO2}\n"
FAST = "reference: {engine: ase, calculator: 'ase.calculators.emt:EMT'}\n"


def voltaloop(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "content", "text"),
    [
        (["run", "none.yaml"], None, "Error: There is no campaign file none.yaml."),
        (["run", "lno.yaml"], GOOD + "stpo: {}", "unknown key 'stpo'. Did you mean 'stop'?"),
        (["validate", "lno.yaml"], GOOD + "stop: {wall_time: 10}", "such as 90s, 10m, 2h or 1d"),
        (["validate", "lno.yaml"], "name: [lno", "lno.yaml is not valid YAML"),
        (
            ["run", "lno.yaml"],
            "name: a\nmaterial: {structure: NiO2.cif}\n" + FAST,
            "No structure file",
        ),
        (["status", "runs/none"], None, "runs/none is no campaign folder"),
        (["export", "runs/none"], None, "runs/none is no campaign folder"),
        (["init", "a/b"], None, "name: String should match pattern"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_one_clear_text_on_standard_error(
    tmp_path: Path, arguments: list[str], content: str | None, text: str
) -> None:
    if content is not None:
        (tmp_path / "lno.yaml").write_text(content)
    before = sorted(tmp_path.rglob("*"))
    result = voltaloop(tmp_path, *arguments)
    assert result.returncode == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert "labels 0/" not in result.stderr
    assert result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_brackets_in_an_error_are_shown_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "lno.yaml").write_text(GOOD + "explore: {temperature: [900, 300]}")
    result = voltaloop(tmp_path, "validate", "lno.yaml")
    assert "got [900.0, 300.0]" in result.stderr


def test_success_ends_with_exit_code_0_and_says_nothing_on_standard_error(tmp_path: Path) -> None:
    made = voltaloop(tmp_path, "init", "lno")
    assert (made.returncode, made.stderr) == (0, "")
    assert (
        made.stdout == "Wrote lno.yaml. Next: voltaloop validate lno.yaml; voltaloop run lno.yaml\n"
    )
    shown = voltaloop(tmp_path, "--version")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("voltaloop ")


def test_an_unknown_command_or_option_is_bad_input(tmp_path: Path) -> None:
    for arguments in (["rnu"], ["run", "--wall-time", "3"], ["run"]):
        result = voltaloop(tmp_path, *arguments)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
