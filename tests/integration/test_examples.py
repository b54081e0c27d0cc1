"""Every example is a campaign file that could run, even where its engine is not installed."""

from pathlib import Path

import pytest

from voltaloop.campaigns import read_campaign_file
from voltaloop.campaigns.file import build_engine
from voltaloop.campaigns.opening import make_orderings
from voltaloop.references import REFERENCES

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_reaches_its_contents_and_names_itself_after_its_file(path: Path) -> None:
    campaign, _ = read_campaign_file(path)
    _, orderings = make_orderings(campaign, path.parent)
    assert {ordering.x for ordering in orderings} == set(campaign.material.lithium)
    assert campaign.name == path.stem


def test_the_gpaw_example_is_cut_so_that_there_is_stress() -> None:
    (path,) = (path for path in EXAMPLES if path.stem == "lno-gpaw")
    campaign, _ = read_campaign_file(path)
    settings = build_engine(REFERENCES, campaign.reference).settings
    assert settings.ecut_eV >= 800
    assert settings.dispersion == "d3bj"
