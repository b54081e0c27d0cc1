import os
from pathlib import Path

import pytest
from puppet import SESSION, campaign_text

from voltaloop.campaigns import CampaignFolder, campaign_history, parse_campaign
from voltaloop.campaigns.folder import write_json, write_text
from voltaloop.core import CampaignFolderError

TEXT = campaign_text()
CAMPAIGN = parse_campaign(TEXT, "puppet.yaml")


def started(folder: CampaignFolder, text: str = TEXT) -> CampaignFolder:
    with folder.held(parse_campaign(text, "f"), text) as log:
        log.append([("session", SESSION)], 1000.0)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> CampaignFolder:
    return CampaignFolder(tmp_path / "runs" / "puppet")


def test_a_new_folder_is_made_with_the_campaign_and_an_empty_log(folder: CampaignFolder) -> None:
    folder.refuse_other_campaign(TEXT)
    assert not folder.root.exists()
    with folder.held(CAMPAIGN, TEXT) as log:
        assert log.count() == 0
    assert folder.campaign_path.read_text() == TEXT
    assert folder.campaign()[1] == TEXT
    assert sorted(p.name for p in folder.root.iterdir()) == [
        "campaign.yaml",
        "events.sqlite",
        "lock",
    ]


def test_the_same_campaign_may_go_on(folder: CampaignFolder) -> None:
    started(folder).refuse_other_campaign(TEXT)
    with folder.held(CAMPAIGN, TEXT) as log:
        assert log.count() == 1


def test_a_folder_of_another_campaign_is_refused_and_left_alone(folder: CampaignFolder) -> None:
    started(folder)
    before = {p.name: p.read_bytes() for p in folder.root.iterdir()}
    with pytest.raises(CampaignFolderError, match="holds another campaign, or an earlier version"):
        folder.refuse_other_campaign(campaign_text(stop={"labels": 17}))
    assert {p.name: p.read_bytes() for p in folder.root.iterdir()} == before


def test_a_folder_with_other_files_is_refused(folder: CampaignFolder) -> None:
    folder.root.mkdir(parents=True)
    (folder.root / "thesis.tex").touch()
    with pytest.raises(CampaignFolderError, match=r"is not empty and no campaign folder.*--out"):
        folder.refuse_other_campaign(TEXT)


def test_an_empty_folder_is_fine(folder: CampaignFolder) -> None:
    folder.root.mkdir(parents=True)
    folder.refuse_other_campaign(TEXT)
    started(folder)


def test_a_folder_left_by_a_run_killed_at_its_very_beginning_is_fine(
    folder: CampaignFolder,
) -> None:
    folder.root.mkdir(parents=True)
    (folder.root / "lock").touch()
    (folder.root / ".campaign.yaml.tmp").write_text("name: pup")
    folder.refuse_other_campaign(TEXT)
    started(folder)
    assert folder.campaign()[1] == TEXT
    assert not (folder.root / ".campaign.yaml.tmp").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CampaignFolderError, match="is not empty and no campaign folder"):
        CampaignFolder(tmp_path / "file").refuse_other_campaign(TEXT)
    below = CampaignFolder(tmp_path / "file" / "below")
    below.refuse_other_campaign(TEXT)
    with pytest.raises(CampaignFolderError, match=r"cannot be made: Not a directory.*--out"):
        started(below)


def test_a_folder_that_another_run_holds_is_refused(folder: CampaignFolder) -> None:
    with folder.held(CAMPAIGN, TEXT):
        text = f"held by another voltaloop run: process {os.getpid()} on "
        with pytest.raises(CampaignFolderError, match=text), folder.held(CAMPAIGN, TEXT):
            pytest.fail("two runs hold one folder")


def test_a_folder_is_free_again_after_its_run_failed(folder: CampaignFolder) -> None:
    with pytest.raises(ZeroDivisionError), folder.held(CAMPAIGN, TEXT):
        raise ZeroDivisionError
    started(folder)


@pytest.mark.parametrize("missing", ["campaign.yaml", "events.sqlite"])
def test_reading_what_is_no_campaign_folder_is_refused(
    folder: CampaignFolder, missing: str
) -> None:
    started(folder)
    (folder.root / missing).unlink()
    for read in (folder.campaign, folder.read_log, lambda: campaign_history(folder)):
        with pytest.raises(CampaignFolderError, match="is no campaign folder: expected campaign"):
            read()


def test_a_damaged_log_is_refused(folder: CampaignFolder) -> None:
    started(folder)
    folder.log_path.write_bytes(b"no database at all" * 100)
    with pytest.raises(CampaignFolderError, match="file is not a database"):
        campaign_history(folder)


def test_a_campaign_that_has_not_begun_can_be_looked_at(folder: CampaignFolder) -> None:
    with folder.held(CAMPAIGN, TEXT):
        pass
    history = campaign_history(folder)
    assert (history.name, history.state, history.formula) == ("puppet", "paused", "LiNiO2")
    assert history.answer is None


def test_leftovers_of_killed_writers_are_removed_by_the_next_run(folder: CampaignFolder) -> None:
    started(folder)
    name = folder.artifacts.put_json({"a": 1})
    leftover = folder.artifacts.root / name[:2] / "half.tmp"
    leftover.touch()
    started(folder)
    assert not leftover.exists()
    assert folder.artifacts.get_json(name) == {"a": 1}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1.0, 0.5]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n  "x": [\n    1.0,\n    0.5\n  ]\n}\n'
    write_text(tmp_path / "b.txt", "Å")
    assert (tmp_path / "b.txt").read_bytes() == b"\xc3\x85"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.txt"]
