"""What every event log promises, as tests to inherit."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from voltaloop.core import CampaignFolderError, Event
from voltaloop.store import EventLog

_WRITER = """
import sys
from voltaloop.store import EventLog
log = EventLog.open(sys.argv[1], campaign=sys.argv[2])
for n in range(50):
    log.append([("written", {"n": n})], now=float(n))
    print(n, flush=True)
sys.stdin.read()
"""


class EventLogContract:
    """Inherit, write ``make_target``, and the suite runs::

    class TestMine(EventLogContract):
        def make_target(self, tmp_path: Path) -> str:
            return "mine://..."
    """

    second_writer_is_refused: ClassVar[bool] = True
    """False where only the campaign's lock keeps a second writer away; the log must then number
    what both append."""

    def make_target(self, tmp_path: Path) -> Path | str:
        """Where a log can be opened, empty and the same for one ``tmp_path``."""
        raise NotImplementedError("return a path or URL for EventLog.open")

    def make_campaign(self, tmp_path: Path) -> str:  # noqa: ARG002 - for those who need it
        """The campaign's name, for a target that holds several; the same for one ``tmp_path``."""
        return "contract"

    @pytest.fixture
    def target(self, tmp_path: Path) -> Path | str:
        return self.make_target(tmp_path)

    @pytest.fixture
    def campaign(self, tmp_path: Path) -> str:
        return self.make_campaign(tmp_path)

    @pytest.fixture
    def log(self, target: Path | str, campaign: str) -> Iterator[EventLog]:
        with EventLog.open(target, campaign=campaign) as log:
            yield log

    def test_a_new_log_is_empty(self, log: EventLog) -> None:
        assert log.count() == 0
        assert list(log.read()) == []

    def test_events_are_numbered_from_one_without_gaps(self, log: EventLog) -> None:
        first = log.append([("started", {}), ("proposed", {"x": 0.5})], now=10.0)
        second = log.append([("labelled", {"energy": -1.5})], now=11.0)
        assert [event.seq for event in first + second] == [1, 2, 3]
        assert log.count() == 3

    def test_what_append_returns_is_what_a_reader_gets(
        self, log: EventLog, target: Path | str, campaign: str
    ) -> None:
        data = {"x": (0.1, 0.2), "by number": {7: True}, "µ": None, "tiny": 5e-324, "nul": "\0"}
        written = log.append([("proposed", data)], now=1700000000.123456)
        with EventLog.open(target, campaign=campaign, read_only=True) as other:
            assert list(other.read()) == written
        read_back: dict[str, Any] = {"x": [0.1, 0.2], "by number": {"7": True}, "µ": None}
        read_back |= {"tiny": 5e-324, "nul": "\0"}
        assert written == [
            Event(seq=1, time=1700000000.123456, kind="proposed", data=read_back),
        ]

    def test_reading_can_begin_after_any_event(self, log: EventLog) -> None:
        log.append([("tick", {"n": n}) for n in range(2500)], now=0.0)
        assert [event.seq for event in log.read(after=2497)] == [2498, 2499, 2500]
        assert [event.data["n"] for event in log.read()] == list(range(2500))
        assert list(log.read(after=2500)) == []

    def test_nothing_to_append_appends_nothing(self, log: EventLog) -> None:
        assert log.append([], now=0.0) == []
        assert log.count() == 0

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
    def test_what_json_cannot_hold_is_refused_with_all_that_came_with_it(
        self, log: EventLog, value: object
    ) -> None:
        with pytest.raises(
            ValueError, match=r"Event 'bad': .* JSON.*Expected text, finite numbers"
        ):
            log.append([("good", {}), ("bad", {"value": value})], now=0.0)
        assert log.count() == 0

    @pytest.mark.parametrize("now", [float("nan"), float("-inf")])
    def test_a_time_that_is_no_time_is_refused(self, log: EventLog, now: float) -> None:
        with pytest.raises(ValueError, match="Event time: expected finite seconds"):
            log.append([("tick", {})], now=now)

    @pytest.mark.parametrize("kind", ["", "k" * 65])
    def test_a_kind_must_be_a_short_word(self, log: EventLog, kind: str) -> None:
        with pytest.raises(ValueError, match="Event kind: expected 1 to 64 characters"):
            log.append([(kind, {})], now=0.0)

    def test_a_reader_sees_what_is_written_meanwhile(
        self, log: EventLog, target: Path | str, campaign: str
    ) -> None:
        log.append([("one", {})], now=0.0)
        with EventLog.open(target, campaign=campaign, read_only=True) as reader:
            pages = reader.read()
            assert next(pages).kind == "one"
            log.append([("two", {})], now=1.0)
            assert [event.kind for event in reader.read(after=1)] == ["two"]

    def test_a_reader_cannot_write(self, log: EventLog, target: Path | str, campaign: str) -> None:
        with (
            EventLog.open(target, campaign=campaign, read_only=True) as reader,
            pytest.raises(CampaignFolderError, match="opened for reading only"),
        ):
            reader.append([("one", {})], now=0.0)
        assert log.count() == 0

    def test_a_log_goes_on_where_it_ended(self, target: Path | str, campaign: str) -> None:
        for n in range(3):
            with EventLog.open(target, campaign=campaign) as log:
                assert log.count() == n
                assert log.append([("tick", {})], now=0.0)[0].seq == n + 1

    def test_a_reader_of_a_log_that_is_not_there_is_told_so(
        self, target: Path | str, campaign: str
    ) -> None:
        for _ in range(2):
            with pytest.raises(CampaignFolderError, match=r"There is no event log at .*start the"):
                EventLog.open(target, campaign=campaign, read_only=True)

    def test_two_writers_leave_no_gap_and_no_double(
        self, log: EventLog, target: Path | str, campaign: str
    ) -> None:
        log.append([("tick", {"n": 0})], now=0.0)
        if self.second_writer_is_refused:
            with pytest.raises(CampaignFolderError, match=r"is held by another voltaloop run: "):
                EventLog.open(target, campaign=campaign)
            log.append([("tick", {"n": 1})], now=0.0)
        else:
            with EventLog.open(target, campaign=campaign) as other:
                other.append([("tick", {"n": 1})], now=0.0)
            with pytest.raises(CampaignFolderError, match="another process has written to it"):
                log.append([("tick", {"n": 2})], now=0.0)
        assert [(event.seq, event.data["n"]) for event in log.read()] == [(1, 0), (2, 1)]

    def test_events_that_do_not_follow_the_last_one_are_refused(self, log: EventLog) -> None:
        (first,) = log.append([("tick", {"n": 0})], now=0.0)
        for seq in (1, 3):
            with pytest.raises(CampaignFolderError, match="goes on with event 2, but event"):
                log.write([replace(first, seq=seq)])
        log.write([replace(first, seq=2)])
        assert log.count() == 2

    def test_what_was_appended_survives_a_kill_of_the_writer(
        self, target: Path | str, campaign: str
    ) -> None:
        writer = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _WRITER, str(target), campaign],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(20)]
            writer.kill()
        with EventLog.open(target, campaign=campaign) as log:
            kept = [event.data["n"] for event in log.read()]
            assert kept[:20] == acknowledged
            assert kept == list(range(len(kept)))
            assert log.append([("next", {})], now=0.0)[0].seq == len(kept) + 1
