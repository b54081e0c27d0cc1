import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from synthetic_history import full_history, newborn_history, running_history

from voltaloop.report import AuditRecord, CampaignHistory, html, render_report, write_report

HOSTILE = '</pre></script><script>alert("owned")</script><img src=x onerror=alert(1)> {{ 7 * 7 }}'
LOADING = {"src", "srcset", "data", "poster", "action", "background", "xlink:href"}


class Reader(HTMLParser):
    """Collects what a browser would load, the scripts, and the text outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.styles = ""
        self.policy = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag if tag in ("script", "style") else ""
        for name, value in attrs:
            if name in LOADING or name.startswith("on"):
                self.loaded.append(f"{tag}.{name}={value}")
            if name == "href" and not (tag == "a" and (value or "").startswith("#")):
                self.loaded.append(f"{tag}.href={value}")
        found = dict(attrs)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside == "style":
            self.styles += data
        else:
            self.text += data


def read(history: CampaignHistory) -> Reader:
    reader = Reader()
    reader.feed(render_report(history))
    return reader


def figures_of(reader: Reader) -> dict[str, dict]:
    return json.loads(reader.scripts[0])


@pytest.fixture(scope="module")
def full_page() -> Reader:
    return read(full_history())


def test_the_page_loads_nothing_from_outside(full_page):
    assert full_page.loaded == []
    assert not {"link", "iframe", "object", "embed", "base"} & set(full_page.tags)
    assert not re.search(r"url\(|@import", full_page.styles)


def test_the_page_forbids_the_browser_to_load_anything(full_page):
    assert "default-src 'none'" in full_page.policy
    assert "http" not in full_page.policy


def test_plotly_is_embedded_once():
    page = render_report(full_history())
    assert page.count("* plotly.js v") == 1
    assert "cdn.plot" not in page.split("</style>")[1].split("<script")[0]


def test_hostile_text_stays_text():
    history = replace(
        full_history(),
        name=HOSTILE,
        campaign_text=HOSTILE,
        notes=(HOSTILE,),
        formula=HOSTILE,
        versions={HOSTILE: HOSTILE},
        state="failed",
        labels=[replace(label, reason=HOSTILE) for label in full_history().labels],
        refusals=[replace(r, detail=HOSTILE) for r in full_history().refusals],
        tasks=[replace(task, title=HOSTILE, pool=HOSTILE) for task in full_history().tasks],
        answer={**full_history().answer, "stopped_because": HOSTILE, "reference": HOSTILE},
    )
    reader = read(history)
    assert HOSTILE in reader.text
    assert "img" not in reader.tags
    assert reader.tags.count("script") == 3
    assert reader.loaded == []


def test_hostile_text_is_no_markup_in_a_plot():
    link = '<a href="https://example.org">x</a>'
    history = replace(
        full_history(), tasks=[replace(task, title=link) for task in full_history().tasks]
    )
    bars = figures_of(read(history))["timeline"]["data"]
    assert all("<a" not in text and "&lt;a href" in text for bar in bars for text in bar["text"])


def test_a_full_page_shows_every_figure(full_page):
    assert set(figures_of(full_page)) == {
        "volume",
        "voltage",
        "lattice",
        "hull",
        "settling",
        "parity-energy",
        "parity-force",
        "parity-stress",
        "parity-species",
        "training",
        "learning",
        "sigma-energy",
        "sigma-forces",
        "running-energy",
        "running-forces",
        "selected-x",
        "selected-order",
        "outcomes",
        "trajectories",
        "timeline",
    }


def test_the_answer_comes_first(full_page):
    text = full_page.text
    places = [
        text.index("loses 7.09\u00a0±\u00a00.31\u00a0% of its volume"),
        text.index("What it rests on\n"),
        text.index("How good the potential is\n"),
        text.index("What was selected, and why\n"),
        text.index("What ran, and what it cost\n"),
        text.index("Versions and seeds"),
    ]
    assert places[0] > 0
    assert sorted(places) == places


def test_a_finished_campaign_has_no_banner(full_page):
    assert "Still running" not in full_page.text


@pytest.mark.parametrize(
    ("state", "words"),
    [("running", "Still running."), ("paused", "Paused."), ("failed", "Failed.")],
)
def test_an_unfinished_campaign_says_so_in_a_banner(state, words):
    assert words in read(replace(running_history(), state=state)).text


def test_a_running_campaign_shows_a_provisional_answer_and_why_the_rest_is_missing():
    reader = read(running_history())
    assert "Provisional, from training round 4" in reader.text
    assert "The audit has not run yet" in reader.text
    assert "settling" in figures_of(reader)
    assert "parity-energy" not in figures_of(reader)


def test_a_newborn_campaign_says_why_each_part_is_empty():
    reader = read(newborn_history())
    assert figures_of(reader) == {}
    for reason in (
        "No answer yet.",
        "There is no answer yet",
        "No label has arrived yet.",
        "No training round has ended yet.",
        "No trajectory has ended yet.",
        "No task has started yet.",
        "every label asked for",
    ):
        assert reason in reader.text


@pytest.mark.parametrize(
    "part",
    ["labels", "rounds", "tasks", "explorations", "audit", "refusals", "versions"],
)
def test_a_history_without_one_part_renders(part):
    empty = {} if part == "versions" else ()
    assert "loses" in read(replace(full_history(), **{part: empty})).text


@pytest.mark.parametrize("key", sorted(full_history().answer))
def test_an_answer_without_one_key_renders(key):
    answer = {k: v for k, v in full_history().answer.items() if k != key}
    if key == "x":
        answer = {k: v for k, v in answer.items() if not isinstance(v, list)}
    history = replace(newborn_history(), answer=answer, state="finished")
    assert "Against the reference" in read(history).text


def test_an_answer_of_nulls_renders():
    nothing = dict.fromkeys(full_history().answer)
    assert "has no volume change to report" in read(replace(full_history(), answer=nothing)).text


def test_a_large_campaign_stays_under_eight_megabytes():
    rng = np.random.default_rng(0)
    whole = full_history()
    n = 200
    noise = rng.normal(0, 0.1, size=(60, 3 * n))
    audit = [
        AuditRecord(
            x=0.5,
            temperature_K=300,
            n_atoms=n,
            reference_energy_eV_per_atom=-5.0,
            predicted_energy_eV_per_atom=-5.0,
            energy_sigma=0.01,
            energy_t_width=0.01,
            reference_forces=row.tolist(),
            predicted_forces=(row * 1.1).tolist(),
            force_sigma=np.abs(row).tolist(),
        )
        for row in noise
    ]
    history = replace(
        whole,
        audit=audit,
        tasks=[
            replace(task, started_s=task.started_s + 400 * i, ended_s=task.ended_s + 400 * i)
            for i in range(40)
            for task in whole.tasks
        ],
        labels=[replace(label, index=i) for i, label in enumerate(list(whole.labels) * 20)],
        explorations=list(whole.explorations) * 20,
    )
    page = render_report(history)
    assert len(page.encode()) < 8e6
    assert "4000 of 36000 components shown" in page
    assert "shortest tasks are left out" in page


def test_writing_replaces_the_page_in_one_step(tmp_path):
    path = tmp_path / "new" / "report.html"
    assert write_report(newborn_history(), path) == path
    first = path.read_text(encoding="utf-8")
    write_report(full_history(), path)
    assert path.read_text(encoding="utf-8") != first
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_page_and_nothing_else(tmp_path, monkeypatch):
    path = write_report(newborn_history(), tmp_path / "report.html")
    before = path.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(html.os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_report(full_history(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
