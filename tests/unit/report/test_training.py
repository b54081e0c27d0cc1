from dataclasses import replace

import numpy as np
import pytest
from synthetic_history import full_history, newborn_history

from voltaloop.report import (
    AuditRecord,
    CurveRecord,
    parity_section,
    render_figures,
    training_section,
)
from voltaloop.report.quality import force_parity
from voltaloop.report.training import curve_panels, errors_by_content, errors_by_species

HISTORY = full_history()


def record(x: float, energy_error: float, **more) -> AuditRecord:
    """Lithium with an error of 0.1 eV/Å along x, oxygen with 0.2 along x and 0.4 along y."""
    fields = {
        "x": x,
        "temperature_K": 300.0,
        "n_atoms": 2,
        "reference_energy_eV_per_atom": -5.0,
        "predicted_energy_eV_per_atom": -5.0 + energy_error,
        "energy_sigma": 0.01,
        "energy_t_width": 0.01,
        "reference_forces": [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        "predicted_forces": [1.1, 0.0, 0.0, 0.2, -0.4, 0.0],
        "force_sigma": [0.1] * 6,
        "species": ["Li", "O"],
    }
    return AuditRecord(**{**fields, **more})


def test_errors_of_a_species_are_those_of_its_atoms_by_hand() -> None:
    lithium, oxygen = errors_by_species([record(1.0, 0.0), record(0.0, 0.0)])
    assert (lithium.group, lithium.n, oxygen.group, oxygen.n) == ("Li", 6, "O", 6)
    assert lithium.force_eV_per_A == pytest.approx(np.sqrt(0.01 / 3))
    assert oxygen.force_eV_per_A == pytest.approx(np.sqrt((0.04 + 0.16) / 3))
    assert oxygen.largest_force_error_eV_per_A == pytest.approx(0.4)


def test_errors_of_a_content_are_those_of_its_frames_by_hand() -> None:
    audit = [record(1.0, 0.003), record(1.0, -0.001), record(0.0, 0.002)]
    full, empty = errors_by_content(audit)
    assert (full.group, full.n, empty.group, empty.n) == ("1", 2, "0", 1)
    assert full.energy_meV_per_atom == pytest.approx(np.sqrt((9 + 1) / 2))
    assert empty.energy_meV_per_atom == pytest.approx(2.0)
    assert full.stress_GPa is None


def test_an_audit_that_does_not_know_its_species_has_no_errors_by_species() -> None:
    audit = [record(1.0, 0.0), record(1.0, 0.0, species=[])]
    assert errors_by_species(audit) == []
    parity = force_parity(audit)
    assert parity is not None
    assert len(parity.species) == 0


def test_species_must_be_one_for_each_atom() -> None:
    with pytest.raises(ValueError, match=r"species: expected 2 numbers, got 1"):
        record(1.0, 0.0, species=["Li"])


def test_every_force_component_keeps_its_species_when_points_are_thinned() -> None:
    parity = force_parity(HISTORY.audit)
    assert parity is not None
    assert len(parity.species) == len(parity.reference)
    assert set(parity.species.tolist()) == {"Li", "Ni", "O"}


def test_curves_become_panels_in_the_units_that_people_read() -> None:
    curve = CurveRecord(
        member=0,
        axis="step",
        columns={
            "axis": [0, 100, 200],
            "held_out_energy": [None, 0.02, 0.01],
            "force": [0.5, 0.2, 0.1],
            "stress": [0.01, None, 0.001],
        },
    )
    energy, force, stress = curve_panels([curve])
    assert (energy.unit, energy.lines[0].held_out) == ("meV/atom", True)
    assert (energy.lines[0].axis, energy.lines[0].values) == ([100, 200], [20.0, 10.0])
    assert (force.axis, force.lines[0].values) == ("training step (number)", [0.5, 0.2, 0.1])
    assert stress.lines[0].axis == [0, 200]
    assert stress.lines[0].values == pytest.approx([1.6021766, 0.16021766])


def test_a_curve_with_columns_of_different_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"force: expected 2 numbers, got 1"):
        CurveRecord(member=0, axis="step", columns={"axis": [0, 1], "force": [0.1]})


def test_every_member_has_its_line_in_every_panel() -> None:
    panels = curve_panels(HISTORY.curves)
    assert panels[0].title == "loss"
    for panel in panels:
        assert {line.member for line in panel.lines} == {0, 1, 2, 3}


def test_the_pages_of_plots_hold_their_figures_and_say_what_is_missing() -> None:
    page = render_figures(training_section(HISTORY), "voltaloop plot training")
    for key in ("plot-training", "plot-learning"):
        assert f'id="{key}"' in page
    page = render_figures(parity_section(HISTORY), "voltaloop plot parity")
    for text in ("plot-parity-energy", "plot-parity-species", "Force errors by species", "GPa"):
        assert text in page
    nothing = parity_section(newborn_history())
    assert nothing.shown == []
    assert "The audit has not run yet" in render_figures(nothing, "")


def test_a_campaign_of_an_older_version_has_no_curves_and_says_so() -> None:
    section = training_section(replace(HISTORY, curves=[]))
    assert section.missing == {
        "No training of this campaign has told how it went.": ["How the latest committee learned"]
    }
