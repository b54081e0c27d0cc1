import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "campaigns"))

from puppet import Puppet

from voltaloop.cli.app import app
from voltaloop.core import CampaignFolderError, Task


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture
def puppet() -> Puppet:
    return Puppet(Path("runs/puppet")).open()


def voltaloop(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["quarantine", *arguments])


def refusal(*arguments: str) -> str:
    result = voltaloop(*arguments)
    assert isinstance(result.exception, CampaignFolderError), result.output
    return str(result.exception)


def requests() -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in Path("runs/puppet/requests").glob("*.json")]


def two_in_quarantine(puppet: Puppet) -> tuple[Task, Task]:
    """The first crashed and left a log; the gate refused the label of the second."""
    crashed, large, *_ = puppet.under_way("label")
    log = puppet.store.put_bytes(b"Segmentation fault [core dumped]", "txt")
    puppet.refuse(crashed, "crashed", files={"engine[1].log": log})
    label = puppet.label(large)
    more = {key: label[key] for key in ("label", "energy_per_atom", "moment_per_metal")}
    puppet.refuse(large, "force_too_large", **more)
    puppet.write()
    return crashed, large


def test_an_empty_quarantine_is_said(puppet: Puppet) -> None:
    puppet.write()
    result = voltaloop("runs/puppet")
    assert (result.exit_code, result.stdout) == (0, "Nothing is in quarantine.\n")


def test_the_list_says_what_failed_how_often_why_and_what_can_be_done(puppet: Puppet) -> None:
    crashed, large = two_in_quarantine(puppet)
    result = voltaloop("runs/puppet")
    assert result.exit_code == 0
    rows = [line.replace("│", " ").split() for line in result.stdout.splitlines()]
    assert [crashed.id[:8], *crashed.title.split(), "crashed", "1", "no"] in rows
    assert [large.id[:8], *large.title.split(), "force_too_large", "1", "yes"] in rows
    assert "  as asked: crashed: 99 eV/Å on atom 3" in result.stdout
    (shown,) = [line for line in result.stdout.splitlines() if "engine[1].log: " in line]
    assert Path(shown.partition(": ")[2]).read_text() == "Segmentation fault [core dumped]"
    assert "Decide with: voltaloop quarantine runs/puppet --retry ID, or --accept ID" in (
        result.stdout
    )
    assert not Path("runs/puppet/requests").exists()


def test_a_kept_file_that_is_gone_is_shown_as_lost(puppet: Puppet) -> None:
    two_in_quarantine(puppet)
    (kept,) = Path("runs/puppet/artifacts").rglob("*.txt")
    kept.unlink()
    assert f"{kept} (lost)" in voltaloop("runs/puppet").stdout


def test_decisions_are_left_for_the_run_and_told(puppet: Puppet) -> None:
    crashed, large = two_in_quarantine(puppet)
    ids = ("--retry", crashed.id[:8], "--accept", large.id[:4])
    result = voltaloop("runs/puppet", *ids)
    assert result.exit_code == 0
    assert f"{crashed.id[:8]} will be computed again, at once if the campaign is" in result.stdout
    assert f"{large.id[:8]} will be accepted, at once if the campaign is" in result.stdout
    assert "else by the next `voltaloop run`" in result.stdout
    wanted = [{"case": crashed.id, "what": "retry"}, {"case": large.id, "what": "accept"}]
    assert sorted(requests(), key=str) == sorted(wanted, key=str)
    assert voltaloop("runs/puppet", *ids).exit_code == 0
    assert len(requests()) == 2


def test_several_calculations_can_be_decided_about_at_once(puppet: Puppet) -> None:
    crashed, large = two_in_quarantine(puppet)
    voltaloop("runs/puppet", "--retry", crashed.id, "--retry", large.id)
    assert {request["case"] for request in requests()} == {crashed.id, large.id}


def test_what_cannot_be_done_is_refused_with_the_reason(puppet: Puppet) -> None:
    crashed, _ = two_in_quarantine(puppet)
    assert "is too short" in refusal("runs/puppet", "--retry", "a")
    assert "fits 0 of the 2" in refusal("runs/puppet", "--retry", "zzzz")
    text = refusal("runs/puppet", "--accept", crashed.id[:8])
    assert "has no label to accept: it ended with crashed" in text
    assert requests() == []


def test_a_folder_that_is_none_is_refused() -> None:
    assert "is no campaign folder" in refusal("runs/none")
    assert list(Path().iterdir()) == []


def test_the_help_says_what_the_decisions_do() -> None:
    shown = " ".join(voltaloop("--help").output.replace("│", " ").split())
    for words in ("first digits of an id", "from the first rung", "you have looked at it"):
        assert words in shown
