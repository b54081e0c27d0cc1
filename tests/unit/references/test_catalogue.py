import sys

import pytest

from voltaloop.core import FAILURE_REASONS, CampaignFileError, UnknownBackendError
from voltaloop.references import REFERENCES, build_reference


@pytest.mark.parametrize("name", REFERENCES.names())
def test_every_engine_loads_without_its_heavy_package(name):
    assert REFERENCES.load(name).Settings.model_fields


def test_the_four_built_in_engines_are_there():
    assert {"ase", "chgnet", "gpaw", "tblite"} <= set(REFERENCES.names())


def test_an_unknown_engine_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownBackendError, match=r"'chgnett'. Did you mean 'chgnet'"):
        build_reference("chgnett", {})


def test_an_unknown_setting_is_refused_with_the_nearest_one():
    with pytest.raises(
        CampaignFileError, match=r"'chgnet':\n  Unknown key 'dispersio'. Did you mean 'dispersion'"
    ):
        build_reference("chgnet", {"dispersio": "d3bj"})


def test_a_wrong_value_is_refused_with_its_place_and_what_is_allowed():
    with pytest.raises(CampaignFileError, match=r"dispersion: .*'d3bj'.*, got 'd4'"):
        build_reference("chgnet", {"dispersion": "d4"})


def test_a_missing_setting_is_named():
    with pytest.raises(CampaignFileError, match="calculator: Field required"):
        build_reference("ase", {})


def test_dispersion_none_in_a_campaign_file_means_no_dispersion():
    assert build_reference("chgnet", {"dispersion": "none"}).settings.dispersion is None


REQUIRED = {
    "ase": {"calculator": "ase.calculators.emt:EMT"},
    "faulty": {"wraps": {"engine": "chgnet"}, "folder": "/tmp/faults"},  # noqa: S108 - not used
}
"""Settings that an engine cannot do without."""


@pytest.mark.parametrize("name", REFERENCES.names())
def test_every_rung_of_a_ladder_is_valid_for_its_engine(name):
    engine = REFERENCES.load(name)
    base = REQUIRED.get(name, {})
    for rung in engine.LADDER:
        validated = engine.Settings.model_validate(rung.applied_to(base))
        assert validated != engine.Settings.model_validate(base)
        assert set(rung.reasons) <= set(FAILURE_REASONS)
        assert len(rung.name.split()) > 2


@pytest.mark.parametrize(
    ("engine", "settings", "told"),
    [
        ("chgnet", {}, []),
        ("tblite", {}, []),
        ("gpaw", {"python": "/opt/gpaw/bin/python"}, ["/opt/gpaw/bin/python"]),
        ("gpaw", {}, [sys.executable]),
        ("ase", {"calculator": "ase.calculators.emt:EMT"}, ["ase.calculators.emt:EMT()"]),
        (
            "ase",
            {
                "calculator": "ase.calculators.vasp:Vasp",
                "parameters": {"command": "mpirun vasp_std", "encut": 520},
            },
            ["ase.calculators.vasp:Vasp(command='mpirun vasp_std', encut=520)"],
        ),
    ],
)
def test_what_settings_run_is_told(engine, settings, told):
    assert build_reference(engine, settings).executes() == told
