import json
import logging
import os
from pathlib import Path

import pytest

from voltaloop.campaigns import CampaignFolder
from voltaloop.campaigns.requests import ask, open_requests, settle, whole_id
from voltaloop.core import CampaignFolderError, Event

ONE, OTHER = "ab12" + "0" * 60, "ab13" + "0" * 60


@pytest.fixture
def folder(tmp_path: Path) -> CampaignFolder:
    return CampaignFolder(tmp_path)


def asked(folder: CampaignFolder) -> list[tuple[str, str]]:
    return [(data["what"], data["case"]) for _, data in open_requests(folder)]


def put(folder: CampaignFolder, name: str, content: bytes) -> Path:
    folder.requests_path.mkdir(exist_ok=True)
    path = folder.requests_path / name
    path.write_bytes(content)
    return path


def test_a_folder_that_nobody_asked_anything_has_no_requests(folder: CampaignFolder) -> None:
    assert open_requests(folder) == []
    assert not folder.requests_path.exists()


def test_requests_are_taken_up_in_the_order_in_which_they_were_made(
    folder: CampaignFolder,
) -> None:
    cases = [f"{k:064x}" for k in range(6)]
    for k, case in enumerate(cases):
        ask(folder, "accept" if k % 2 else "retry", case)
        newest = max(folder.requests_path.iterdir(), key=lambda file: file.stat().st_ctime_ns)
        os.utime(newest, ns=(k, k))
    assert [case for _, case in asked(folder)] == cases
    assert [what for what, _ in asked(folder)] == ["retry", "accept"] * 3


def test_a_request_stays_until_it_stands_in_the_log(folder: CampaignFolder) -> None:
    ask(folder, "retry", ONE)
    ((kind, data),) = open_requests(folder)
    assert kind == "asked"
    assert open_requests(folder) == [(kind, data)]
    settle(folder, [Event(seq=1, time=1.0, kind="session", data={})])
    assert open_requests(folder) == [(kind, data)]
    event = Event(seq=2, time=1.0, kind=kind, data=data)
    settle(folder, [event])
    settle(folder, [event])
    assert list(folder.requests_path.iterdir()) == []


def test_every_request_has_a_name_of_its_own(folder: CampaignFolder) -> None:
    names = set()
    for _ in range(2):
        ask(folder, "retry", ONE)
        ((kind, data),) = open_requests(folder)
        names.add(data["request"])
        settle(folder, [Event(seq=1, time=1.0, kind=kind, data=data)])
    assert len(names) == 2


def test_asking_twice_is_asking_once(folder: CampaignFolder) -> None:
    ask(folder, "retry", ONE)
    ask(folder, "retry", ONE)
    assert asked(folder) == [("retry", ONE)]


def test_the_latest_word_about_a_calculation_counts(folder: CampaignFolder) -> None:
    ask(folder, "retry", ONE)
    ask(folder, "retry", OTHER)
    ask(folder, "accept", ONE)
    assert sorted(asked(folder)) == [("accept", ONE), ("retry", OTHER)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"what": "retry"}',
        json.dumps({"what": "delete", "case": ONE}).encode(),
        json.dumps({"what": "retry", "case": 7}).encode(),
        json.dumps({"what": ["retry"], "case": ONE}).encode(),
    ],
)
def test_a_file_that_is_no_request_is_put_aside_with_a_warning_and_the_others_are_read(
    folder: CampaignFolder, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = put(folder, "0123.json", content)
    ask(folder, "retry", ONE)
    with caplog.at_level(logging.WARNING):
        assert asked(folder) == [("retry", ONE)]
        assert asked(folder) == [("retry", ONE)]
    aside = damaged.with_suffix(".unreadable")
    assert aside.read_bytes() == content
    assert not damaged.exists()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(aside) in warning
    assert "expected what `voltaloop quarantine` writes. Ask again." in warning


def test_a_folder_in_the_place_of_a_request_is_put_aside(
    folder: CampaignFolder, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.requests_path / "00.json").mkdir(parents=True)
    assert open_requests(folder) == []
    assert "cannot be read" in caplog.text


def test_half_written_requests_are_not_seen(folder: CampaignFolder) -> None:
    put(folder, ".0123.json.tmp", b'{"what": "re')
    assert open_requests(folder) == []
    assert [path.name for path in folder.requests_path.iterdir()] == [".0123.json.tmp"]


def test_a_place_that_cannot_be_written_is_said(folder: CampaignFolder) -> None:
    folder.requests_path.write_text("a file in the way")
    with pytest.raises(CampaignFolderError, match=r"cannot be written into .*requests: File exist"):
        ask(folder, "retry", ONE)


def test_the_first_digits_of_an_id_are_enough() -> None:
    assert whole_id("ab12", [ONE, OTHER]) == ONE
    assert whole_id("AB13", [ONE, OTHER]) == OTHER
    assert whole_id(ONE, [ONE, OTHER]) == ONE


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ("ab1", "is too short: give at least 4 digits"),
        ("", "is too short"),
        ("ab14", "fits 0 of the 2 calculations in quarantine"),
        ("ab12" + "1" * 60, "fits 0 of the 2"),
    ],
)
def test_an_id_that_fits_nothing_is_refused_with_the_way_to_see_them(
    start: str, problem: str
) -> None:
    with pytest.raises(CampaignFolderError) as caught:
        whole_id(start, [ONE, OTHER])
    assert f"The id {start!r} {problem}" in str(caught.value)
    assert "`voltaloop quarantine DIR` lists them" in str(caught.value)


def test_an_id_that_fits_several_is_refused() -> None:
    near = ONE[:-1] + "1"
    with pytest.raises(CampaignFolderError, match="fits 2 of the 2 calculations"):
        whole_id("ab12", [ONE, near])
