import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from voltaloop.cli.app import app
from voltaloop.core import CampaignFileError, LabelledSetError, MissingDependencyError

sys.path += [
    str(Path(__file__).parents[2] / "support"),
    str(Path(__file__).parents[1] / "campaigns"),
]

from inline_bench import InlineBench
from labelled_oxide import TINY, compare_data, tune_data, write_labelled

FOUND = {
    "energy_rmse_meV_per_atom": 5.0,
    "force_rmse_eV_per_A": 0.1,
    "stress_rmse_GPa": None,
    "train_s": 2.0,
    "train_cpu_s": 1.0,
    "notes": [],
}


@pytest.fixture(autouse=True)
def _in_a_folder_with_labels(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("TERMINAL_WIDTH", "250")
    (tmp_path / "labels.xyz").write_bytes(labels.read_bytes())


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("oxide") / "labels.xyz", 24)


class Answers:
    """What the bench of the commands answers; ``error`` after ``left`` answers."""

    def __init__(self) -> None:
        self.left = 1000
        self.error: BaseException = KeyboardInterrupt()

    def __call__(self, _: str, function: str, __: Any) -> dict[str, Any]:
        if function == "is_installed":
            return {}
        if self.left == 0:
            raise self.error
        self.left -= 1
        return dict(FOUND)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers()

    @contextmanager
    def opened(folder: Path, *_: Any) -> Iterator[InlineBench]:
        folder.parent.mkdir(exist_ok=True, parents=True)
        yield InlineBench(folder, answers)

    monkeypatch.setattr("voltaloop.campaigns.studying.open_bench", opened)
    return answers


def voltaloop(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def write(name: str, data: dict[str, Any]) -> str:
    Path(name).write_text(yaml.safe_dump(data, sort_keys=False))
    return name


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("compare", ["DIR/compare.json, DIR/compare.md and DIR/compare.html", "runs/NAME"]),
        ("tune", ["DIR/best.yaml", "test frames that no trial has seen", "130: stopped"]),
    ],
)
def test_the_help_says_what_is_done_and_written(command: str, words: list[str]) -> None:
    shown = " ".join(voltaloop(command, "--help").output.replace("│", " ").split())
    for word in words:
        assert word in shown


@pytest.mark.usefixtures("answers")
def test_compare_prints_the_table_and_writes_its_files() -> None:
    result = voltaloop("compare", write("one.yaml", compare_data("one")))
    assert result.exit_code == 0, result.output
    assert "24 labelled frames of Li-O-Ni" in result.stderr
    assert "pod, 8 frames, split 1: 5.00 meV/atom, 0.100 eV/Å, trained in 2.0 s" in result.stderr
    assert "energy (meV/atom)" in result.stdout
    assert "Trained on 12 frames, pod has a force error of 0.100 eV/Å" in result.stdout
    for kind in ("json", "md", "html"):
        assert Path(f"runs/one/compare.{kind}").is_file()


def test_compare_ends_with_an_error_where_nothing_could_be_measured(answers: Answers) -> None:
    answers.left, answers.error = 0, ValueError("no [bold]markup[/]")
    result = voltaloop("compare", write("one.yaml", compare_data("one")), "--out", "there")
    assert result.exit_code == 1
    assert "pod failed: ValueError: no [bold]markup[/]" in result.stdout
    assert Path("there/compare.html").is_file()


def test_compare_can_be_stopped_and_says_how_to_go_on(answers: Answers) -> None:
    answers.left = 1
    result = voltaloop("compare", write("one.yaml", compare_data("one")), "--out", "there")
    assert result.exit_code == 130
    assert "Go on with: voltaloop compare one.yaml --out there" in result.stderr


@pytest.mark.usefixtures("answers")
def test_a_notice_of_a_licence_is_printed() -> None:
    potentials = [TINY, {"engine": "gap"}, {"engine": "gap", "name": "gap again"}]
    result = voltaloop("compare", write("one.yaml", compare_data("one", potentials=potentials)))
    assert result.stderr.count("non-commercial") == 1


@pytest.mark.usefixtures("answers")
def test_tune_prints_the_front_and_writes_a_section_to_paste() -> None:
    result = voltaloop("tune", write("one.yaml", tune_data("one")))
    assert result.exit_code == 0, result.output
    assert "a held-out share of 6 frames, trained on 13 others" in result.stderr
    assert "as the file has it: 5.00 meV/atom, 0.100 eV/Å" in result.stderr
    assert "Pareto front" in result.stdout
    assert "runs/one/best.yaml" in result.stdout
    assert yaml.safe_load(Path("runs/one/best.yaml").read_text())["potential"]["engine"] == "pod"


def test_tune_can_be_stopped_and_goes_on(answers: Answers) -> None:
    answers.left = 2
    file = write("one.yaml", tune_data("one"))
    stopped = voltaloop("tune", file)
    assert stopped.exit_code == 130
    assert "Go on with: voltaloop tune one.yaml" in stopped.stderr
    answers.left = 1000
    assert voltaloop("tune", file).exit_code == 0


@pytest.mark.parametrize(
    ("command", "data", "kind"),
    [
        ("compare", compare_data("one", labels={"extxyz": "none.xyz"}), LabelledSetError),
        ("compare", compare_data("one", splits=0), CampaignFileError),
        ("tune", tune_data("one", trials=0), CampaignFileError),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    command: str, data: dict[str, Any], kind: type[Exception]
) -> None:
    result = voltaloop(command, write("one.yaml", data))
    assert isinstance(result.exception, kind), result.output
    assert not Path("runs").exists()


@pytest.mark.usefixtures("answers")
def test_without_optuna_tune_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.split(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = voltaloop("tune", write("one.yaml", tune_data("one")))
    assert isinstance(result.exception, MissingDependencyError)
    assert "pip install 'voltaloop[tune]'" in str(result.exception)
