from io import StringIO

from rich.console import Console

from voltaloop.cli.study_progress import StudyBar, StudyLines


def test_lines_count_what_ended() -> None:
    out = StringIO()
    with StudyLines(Console(file=out), "runs", 2) as progress:
        progress.ended("pod [8 frames]")
        progress.ended("gap")
    first, second = out.getvalue().splitlines()
    assert first.endswith(" s  1/2  pod [8 frames]")
    assert second.endswith(" s  2/2  gap")


def test_a_bar_shows_lines_above_it() -> None:
    out = StringIO()
    with StudyBar(
        Console(file=out, force_terminal=True, width=100, highlight=False), "runs", 2
    ) as progress:
        progress.ended("pod [8 frames]")
    assert "pod [8 frames]" in out.getvalue()
    assert "1/2" in out.getvalue()
