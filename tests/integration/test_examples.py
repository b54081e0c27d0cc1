"""Every example is a campaign file that could run, even where its engine is not installed, or the
file of a study."""

from pathlib import Path

import pytest

from voltaloop.campaigns import read_campaign_file
from voltaloop.campaigns.file import build_engine
from voltaloop.campaigns.opening import make_orderings
from voltaloop.campaigns.study_file import read_compare_file, read_tune_file
from voltaloop.references import REFERENCES

FILES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
READERS = {"-compare": read_compare_file, "-tune": read_tune_file}
EXAMPLES = [path for path in FILES if not path.stem.endswith(tuple(READERS))]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_reaches_its_contents_and_names_itself_after_its_file(path: Path) -> None:
    campaign, _ = read_campaign_file(path)
    _, orderings = make_orderings(campaign, path.parent)
    assert {ordering.x for ordering in orderings} == set(campaign.material.lithium)
    assert campaign.name == path.stem


@pytest.mark.parametrize("ending", READERS)
def test_an_example_of_a_study_is_valid_and_names_itself_after_its_file(ending: str) -> None:
    paths = [path for path in FILES if path.stem.endswith(ending)]
    assert paths
    for path in paths:
        assert READERS[ending](path)[0].name == path.stem


def test_the_gpaw_example_is_cut_so_that_there_is_stress() -> None:
    (path,) = (path for path in EXAMPLES if path.stem == "lno-gpaw")
    campaign, _ = read_campaign_file(path)
    settings = build_engine(REFERENCES, campaign.reference).settings
    assert settings.ecut_eV >= 800
    assert settings.dispersion == "d3bj"
