from collections.abc import Callable
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from puppet import Puppet

from voltaloop.campaigns import FORMATS, CampaignFolder, export_labels
from voltaloop.core import CampaignFolderError, Frame, Label
from voltaloop.core.deepmd_npy import read_deepmd

Truth = list[tuple[Frame, Label, str]]


@pytest.fixture
def puppet(tmp_path: Path) -> Puppet:
    return Puppet(tmp_path / "campaign").open()


def finished(puppet: Puppet) -> tuple[CampaignFolder, Truth]:
    """The folder, and what lies in it by another way than the export's."""
    puppet.run()
    state, store = puppet.state, puppet.store
    truth = [
        (
            Frame.from_json(store.get_json(one.frame)),
            Label.from_json(store.get_json(one.label)),
            one.origin,
        )
        for one in [*state.labels, *state.audit]
    ]
    return puppet.write(), truth


def assert_same(found: Atoms, frame: Frame, label: Label, atol: float = 1e-7) -> None:
    np.testing.assert_array_equal(found.numbers, frame.numbers)
    np.testing.assert_allclose(found.positions, frame.positions, atol=atol)
    np.testing.assert_allclose(found.cell.array, frame.cell, atol=atol)
    assert found.pbc.all()
    assert found.get_potential_energy() == pytest.approx(label.energy, abs=atol)
    np.testing.assert_allclose(found.get_forces(), label.forces, atol=atol)
    assert label.stress is not None
    np.testing.assert_allclose(found.get_stress(), label.stress, atol=atol)
    assert label.magmoms is not None
    np.testing.assert_allclose(found.get_magnetic_moments(), label.magmoms, atol=atol)


def test_extxyz_holds_every_accepted_label_with_its_origin(puppet: Puppet, tmp_path: Path) -> None:
    folder, truth = finished(puppet)
    assert export_labels(folder, "extxyz", tmp_path / "out.xyz") == len(truth) == 22
    found = ase.io.read(tmp_path / "out.xyz", index=":")
    assert len(found) == len(truth)
    for atoms, (frame, label, origin) in zip(found, truth, strict=True):
        assert_same(atoms, frame, label)
        assert atoms.info["origin"] == origin
        assert atoms.info["x"] == pytest.approx(frame.n_lithium / 2)
        assert atoms.info["campaign"] == "puppet"
    assert sum(atoms.info["origin"] == "audit" for atoms in found) == 6


def test_ase_db_holds_every_accepted_label_and_can_be_asked(puppet: Puppet, tmp_path: Path) -> None:
    folder, truth = finished(puppet)
    assert export_labels(folder, "ase-db", tmp_path / "out.db") == len(truth)
    with ase.db.connect(tmp_path / "out.db") as database:
        rows = list(database.select())
        assert database.count(origin="audit") == 6
        assert database.count("x=0") == sum(frame.n_lithium == 0 for frame, _, _ in truth)
    for row, (frame, label, origin) in zip(rows, truth, strict=True):
        assert_same(row.toatoms(), frame, label)
        assert row.origin == origin
        assert row.data["campaign"] == "puppet"


def test_a_campaign_named_like_a_number_can_be_exported(tmp_path: Path) -> None:
    named = Puppet(tmp_path / "campaign").open()
    named.text = named.text.replace("name: puppet", "name: '2026'")
    folder, truth = finished(named)
    for name in FORMATS:
        assert export_labels(folder, name, tmp_path / f"out.{name}") == len(truth)


def test_deepmd_systems_hold_every_label_sorted_by_species(puppet: Puppet, tmp_path: Path) -> None:
    folder, truth = finished(puppet)
    assert export_labels(folder, "deepmd", tmp_path / "out") == len(truth)
    systems = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert systems == ["Li2Ni2O4", "LiNi2O4", "Ni2O4"]
    count = 0
    for name in systems:
        system = tmp_path / "out" / name
        type_map = (system / "type_map.raw").read_text().split()
        kinds = [type_map[int(kind)] for kind in (system / "type.raw").read_text().split()]
        assert type_map == ["Li", "Ni", "O"]
        assert kinds == sorted(kinds, key=["Li", "O", "Ni"].index)
        own = [one for one in truth if one[0].n_lithium == kinds.count("Li")]
        arrays = {
            key: np.load(system / "set.000" / f"{key}.npy")
            for key in ("box", "coord", "energy", "force", "virial")
        }
        n, frames = len(kinds), len(own)
        assert {key: array.shape for key, array in arrays.items()} == {
            "box": (frames, 9),
            "coord": (frames, 3 * n),
            "energy": (frames,),
            "force": (frames, 3 * n),
            "virial": (frames, 9),
        }
        count += frames
        for k, (frame, label, _) in enumerate(own):
            order = np.argsort(frame.numbers, kind="stable")
            assert [Atoms(numbers=[z])[0].symbol for z in frame.numbers[order]] == kinds
            np.testing.assert_allclose(arrays["box"][k].reshape(3, 3), frame.cell)
            np.testing.assert_allclose(
                arrays["coord"][k].reshape(n, 3), frame.positions[order], atol=1e-12
            )
            np.testing.assert_allclose(arrays["force"][k].reshape(n, 3), label.forces[order])
            assert arrays["energy"][k] == pytest.approx(label.energy)
    assert count == len(truth)


def test_the_deepmd_virial_is_positive_under_compression(puppet: Puppet, tmp_path: Path) -> None:
    pressed = 0.02

    def under_pressure(_: object) -> Label:
        stress = np.array([-pressed, -pressed, -pressed, 0.001, 0.002, 0.003])
        return Label(energy=-1.0, forces=np.zeros((8, 3)), stress=stress)

    folder, frame = labelled_by(puppet, under_pressure)
    export_labels(folder, "deepmd", tmp_path / "out")
    virial = np.load(tmp_path / "out" / "Li2Ni2O4" / "set.000" / "virial.npy")[0].reshape(3, 3)
    np.testing.assert_allclose(np.diag(virial), pressed * frame.volume)
    np.testing.assert_allclose(virial, virial.T)
    off_diagonal = (virial[1, 2], virial[0, 2], virial[0, 1])
    np.testing.assert_allclose(off_diagonal, -frame.volume * np.array([0.001, 0.002, 0.003]))


def test_labels_without_stress_get_systems_of_their_own(puppet: Puppet, tmp_path: Path) -> None:
    folder, _ = labelled_by(puppet, lambda _: Label(energy=-1.0, forces=np.zeros((8, 3))))
    export_labels(folder, "deepmd", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Li2Ni2O4_without_stress"]
    arrays = tmp_path / "out" / "Li2Ni2O4_without_stress" / "set.000"
    assert not (arrays / "virial.npy").exists()
    assert {"box", "coord", "energy", "force"} <= {path.stem for path in arrays.iterdir()}


def test_deepmd_systems_give_back_what_was_labelled(puppet: Puppet, tmp_path: Path) -> None:
    folder, truth = finished(puppet)
    export_labels(folder, "deepmd", tmp_path / "out")
    found = [(frame.to_json(), label.to_json()) for frame, label in read_deepmd(tmp_path / "out")]
    assert found == [(frame.to_json(), label.to_json()) for frame, label, _ in truth]


def labelled_by(puppet: Puppet, label: Callable[[Frame], Label]) -> tuple[CampaignFolder, Frame]:
    """A folder with one label of the full structure."""
    task = next(t for t in puppet.under_way("label") if len(puppet.frame_of(t)) == 8)
    frame = puppet.frame_of(task)
    store = puppet.store
    puppet.finish(
        task,
        {
            "frame": store.put_json(frame.to_json()),
            "label": store.put_json(label(frame).to_json()),
            "energy_per_atom": -1.0,
            "force_max": 0.0,
        },
    )
    return puppet.write(), frame


def test_refused_labels_are_not_exported(puppet: Puppet, tmp_path: Path) -> None:
    first, second, *_ = puppet.under_way("label")
    puppet.refuse(first)
    puppet.finish(second)
    assert export_labels(puppet.write(), "extxyz", tmp_path / "out.xyz") == 1


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_to_export_is_said_and_nothing_is_written(
    puppet: Puppet, tmp_path: Path, name: str
) -> None:
    folder = puppet.write()
    with pytest.raises(CampaignFolderError, match="has no accepted labels yet"):
        export_labels(folder, name, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["campaign"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_existing_file_is_never_overwritten(puppet: Puppet, tmp_path: Path, name: str) -> None:
    folder, _ = finished(puppet)
    (tmp_path / "out").write_text("precious")
    with pytest.raises(CampaignFolderError, match=r"exists already.*--out"):
        export_labels(folder, name, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "precious"


def test_a_missing_folder_to_write_into_is_said(puppet: Puppet, tmp_path: Path) -> None:
    folder, _ = finished(puppet)
    with pytest.raises(CampaignFolderError, match=r"There is no folder .*nowhere to write out"):
        export_labels(folder, "extxyz", tmp_path / "nowhere" / "out.xyz")


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_that_breaks_off_leaves_nothing_behind(
    puppet: Puppet, tmp_path: Path, name: str
) -> None:
    folder, _ = finished(puppet)
    state = puppet.state
    folder.artifacts.path(state.audit[-1].label).unlink()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(Exception, match="is not in"):
        export_labels(folder, name, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_nothing_but_the_export_is_left_beside_it(puppet: Puppet, tmp_path: Path) -> None:
    folder, _ = finished(puppet)
    for name in FORMATS:
        export_labels(folder, name, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FORMATS, "campaign"])
