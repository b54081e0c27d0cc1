from itertools import pairwise

import pytest
import yaml
from pydantic import BaseModel

from voltaloop.campaigns import CampaignFile, campaign_template, parse_campaign
from voltaloop.campaigns.template import LONGEST
from voltaloop.potentials import POTENTIALS
from voltaloop.references import REFERENCES

SECTIONS = ("material", "reference", "potential", "explore", "select", "audit", "stop", "resources")


def defaults(name: str) -> CampaignFile:
    return CampaignFile.model_validate({"name": name, "material": {"structure": "LiNiO2"}})


def own_fields(section: BaseModel) -> dict[str, object]:
    return {key: getattr(section, key) for key in type(section).model_fields}


def test_the_template_is_valid_and_says_nothing_but_the_defaults() -> None:
    found = parse_campaign(campaign_template("lno"), "lno.yaml")
    expected = defaults("lno")
    assert (found.name, found.seed) == ("lno", expected.seed)
    for section in SECTIONS:
        assert own_fields(getattr(found, section)) == own_fields(getattr(expected, section))
    for registry, section in ((REFERENCES, found.reference), (POTENTIALS, found.potential)):
        settings = registry.load(section.engine).Settings  # type: ignore[attr-defined]  # either kind
        assert settings.model_validate(section.options) == settings()


def test_every_key_stands_in_the_template_with_a_remark() -> None:
    lines = campaign_template("lno").splitlines()
    keys = {line.split("#")[0].split(":")[0].strip() for line in lines if ":" in line}
    assert max(map(len, lines)) <= LONGEST
    for section in SECTIONS:
        model = CampaignFile.model_fields[section].annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        assert {field.alias or name for name, field in model.model_fields.items()} <= keys
    assert {"members", "basis", "dispersion", "max_force_eV_per_A", "rattle_A"} <= keys
    bare = [
        line
        for above, line in pairwise(lines)
        if line and "# " not in line and not above.lstrip().startswith("# ")
    ]
    assert bare == []


def test_units_are_said_where_a_key_has_one() -> None:
    text = campaign_template("lno")
    for unit in ("in Å", "in K", "in GPa", "in fs", "eV/Å", "in V", "90s, 10m, 2h, 1d"):
        assert unit in text


@pytest.mark.parametrize("name", ["123", "1e5", "on", "null", "2024-01-01", "2024-13-45", "0x1f"])
def test_a_name_that_yaml_would_misread_is_quoted(name: str) -> None:
    text = campaign_template(name)
    assert yaml.safe_load(text)["name"] == name
    assert parse_campaign(text, "f").name == name
