"""DeePMD-kit's input from the options and the user's own keys, and its curves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from voltaloop.core import Frame, Label
from voltaloop.core.training import Example
from voltaloop.potentials.deepmd.curves import read_curve
from voltaloop.potentials.deepmd.inputs import (
    Systems,
    has_fixed_sel,
    merged,
    model_section,
    neighbours,
    training_input,
)
from voltaloop.potentials.deepmd.settings import DeepmdSettings

SPECIES = ("Li", "Ni", "O")
SYSTEMS = Systems(learned=["learned/a", "learned/b"], held_out=["held_out/a"], n_held_out=3)


def whole(*, goes_on: bool = False, member: int = 0, **options: Any) -> dict[str, Any]:
    settings = DeepmdSettings(**options)
    model = model_section(settings, SPECIES, [8, 12, 20])
    return training_input(settings, model, SYSTEMS, member, goes_on=goes_on)


def test_prefactors_learning_rate_and_steps_are_where_deepmd_looks_for_them() -> None:
    got = whole(
        steps=700,
        lr_start=2e-3,
        lr_stop=1e-6,
        decay_steps=50,
        pref_e=(0.1, 2),
        pref_f=(500, 3),
        pref_v=(0, 0),
    )
    assert got["learning_rate"] == {
        "type": "exp",
        "start_lr": 2e-3,
        "stop_lr": 1e-6,
        "decay_steps": 50,
    }
    assert got["loss"] == {
        "type": "ener",
        "start_pref_e": 0.1,
        "limit_pref_e": 2,
        "start_pref_f": 500,
        "limit_pref_f": 3,
        "start_pref_v": 0,
        "limit_pref_v": 0,
    }
    assert got["training"]["numb_steps"] == 700
    assert got["training"]["disp_freq"] == 14
    assert got["model"]["descriptor"]["sel"] == [8, 12, 20]
    assert got["model"]["type_map"] == ["Li", "Ni", "O"]


def test_the_learning_rate_falls_a_hundred_times_where_nothing_else_is_said() -> None:
    assert whole(steps=750)["learning_rate"]["decay_steps"] == 8
    assert whole(steps=40)["learning_rate"]["decay_steps"] == 1


def test_members_differ_by_their_seeds() -> None:
    first, third = whole(seed=5), whole(seed=5, member=2)
    for got, seed in ((first, 5), (third, 7)):
        assert got["model"]["descriptor"]["seed"] == seed
        assert got["model"]["fitting_net"]["seed"] == seed
        assert got["training"]["seed"] == seed


def test_the_users_own_keys_win_and_the_rest_stays() -> None:
    own = {
        "model": {"descriptor": {"neuron": [5, 5]}, "fitting_net": {"activation_function": "gelu"}},
        "loss": {"limit_pref_e": 7},
        "training": {"numb_steps": 90, "disp_freq": 9, "training_data": {"batch_size": 3}},
        "learning_rate": {"decay_steps": 11},
    }
    got = whole(input=own, steps=700)
    assert got["model"]["descriptor"]["neuron"] == [5, 5]
    assert got["model"]["descriptor"]["rcut"] == DeepmdSettings().rcut
    assert got["model"]["fitting_net"]["activation_function"] == "gelu"
    assert got["loss"]["limit_pref_e"] == 7
    assert got["loss"]["limit_pref_f"] == DeepmdSettings().pref_f[1]
    assert got["training"]["numb_steps"] == 90
    assert got["training"]["disp_freq"] == 9
    assert got["training"]["training_data"] == {
        "systems": ["learned/a", "learned/b"],
        "batch_size": 3,
    }
    assert got["learning_rate"]["decay_steps"] == 11


def test_data_and_seeds_are_not_the_users() -> None:
    own = {
        "model": {"type_map": ["H"], "descriptor": {"seed": 99}},
        "training": {
            "seed": 99,
            "training_data": {"systems": ["/mine"]},
            "validation_data": {"systems": ["/mine"]},
            "disp_file": "elsewhere",
        },
    }
    assert "99" not in json.dumps(whole(input=own))
    assert whole(input=own) == whole()


def test_a_section_of_another_type_replaces_the_default_one() -> None:
    own = {
        "model": {"descriptor": {"type": "se_atten", "sel": 60}},
        "learning_rate": {"type": "cosine", "start_lr": 1e-3, "stop_lr": 1e-6},
    }
    got = whole(input=own)
    assert got["model"]["descriptor"] == {"type": "se_atten", "sel": 60, "seed": 1}
    assert "decay_steps" not in got["learning_rate"]
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}


def test_merging_leaves_what_it_merges_as_it_was() -> None:
    default, own = {"a": {"b": 1}}, {"a": {"c": {"d": 1}}}
    both = merged(default, own)
    both["a"]["c"]["d"] = 2
    both["a"]["b"] = 2
    assert (default, own) == ({"a": {"b": 1}}, {"a": {"c": {"d": 1}}})


def test_going_on_is_shorter_slower_and_keeps_the_weights_of_its_learning_rate() -> None:
    options = {
        "lr_start": 4e-3,
        "retrain_lr_start": 1e-3,
        "retrain_steps": 90,
        "pref_f": (1000, 200),
        "pref_e": (0, 8),
    }
    got = whole(goes_on=True, **options)
    assert got["learning_rate"]["start_lr"] == 1e-3
    assert got["learning_rate"]["decay_steps"] == 1
    assert got["training"]["numb_steps"] == 90
    assert got["loss"]["start_pref_f"] == pytest.approx(400)
    assert got["loss"]["start_pref_e"] == pytest.approx(6)
    assert got["loss"]["limit_pref_f"] == 200


def test_an_input_file_is_read_as_json_or_yaml(tmp_path: Path) -> None:
    own = {"training": {"numb_steps": 5}}
    (tmp_path / "input.json").write_text(json.dumps(own))
    (tmp_path / "input.yaml").write_text("training: {numb_steps: 5}")
    for name in ("input.json", "input.yaml"):
        settings = DeepmdSettings(input=str(tmp_path / name))
        assert settings.own_input == own
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(ValidationError, match=r"expected the keys of DeePMD-kit's input\.json"):
        DeepmdSettings(input=str(tmp_path / "list.json"))
    with pytest.raises(ValidationError, match=r"cannot read .*nowhere\.json"):
        DeepmdSettings(input=str(tmp_path / "nowhere.json"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": "many"}, "expected a number of frames, auto or auto:N, got 'many'"),
        ({"batch_size": 0}, "expected a number of frames"),
        ({"pref_e": [-1, 1]}, "expected two numbers of at least 0"),
        ({"rcut": 3.0, "rcut_smth": 3.0}, r"rcut_smth \(3 Å\) must be smaller than rcut \(3 Å\)"),
        ({"lr_stop": 5e-2}, "lr_stop .* must not be larger than"),
        ({"members": 1}, "greater than or equal to 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        DeepmdSettings(**options)


def chain(distance: float) -> Example:
    """Lithium and oxygen in turn along x, far from their images in y and z."""
    frame = Frame(
        numbers=[3, 8],
        positions=[[0, 0, 0], [distance, 0, 0]],
        cell=np.diag([2 * distance, 50.0, 50.0]),
    )
    return Example(key="chain", frame=frame, label=Label(energy=0.0, forces=np.zeros((2, 3))))


def test_neighbours_come_from_the_densest_frame_with_a_margin() -> None:
    """At 0.9 Å six of the other kind are within the cutoff: with the margin 9, rounded up to 12."""
    settings = DeepmdSettings(rcut=5.0, sel_margin=1.5)
    assert neighbours(settings, SPECIES, [chain(2.4), chain(0.9)]) == [12, 4, 12]
    assert neighbours(settings, SPECIES, [chain(2.4)]) == [4, 4, 4]


def test_neighbours_may_be_given_for_every_species() -> None:
    given = DeepmdSettings(sel={"O": 30, "Li": 10, "Ni": 20})
    assert neighbours(given, SPECIES, []) == [10, 20, 30]
    with pytest.raises(ValueError, match=r"potential\.sel has no number for Ni, O"):
        neighbours(DeepmdSettings(sel={"Li": 4}), SPECIES, [])


def test_neighbours_left_to_deepmd_are_noticed() -> None:
    fixed = model_section(DeepmdSettings(), SPECIES, [4, 4, 4])
    own = {"model": {"descriptor": {"sel": "auto:1.2"}}}
    assert has_fixed_sel(fixed)
    assert not has_fixed_sel(model_section(DeepmdSettings(input=own), SPECIES, [4, 4, 4]))


LCURVE = """\
# step  rmse_val rmse_trn rmse_e_val rmse_e_trn rmse_f_val rmse_f_trn rmse_v_val rmse_v_trn   lr
# If there is no available reference data, rmse_*_{val,trn} will print nan
    0   2.0e+00  3.0e+00  1.0e-01    2.0e-01    3.0e-01    4.0e-01    nan        6.0e-01    1.0e-03
  100   1.0e+00  1.5e+00  5.0e-02    nan        2.0e-01    2.0e-01    nan        3.0e-01    1.0e-05
"""


def test_a_curve_tells_errors_in_our_units(tmp_path: Path) -> None:
    (tmp_path / "lcurve.out").write_text(LCURVE)
    curve = read_curve(tmp_path / "lcurve.out", 3, density=0.1)
    assert (curve.member, curve.axis) == (3, "step")
    assert curve.columns == {
        "axis": [0, 100],
        "loss": [9.0, 2.25],
        "energy": [0.2, None],
        "force": [0.4, 0.2],
        "stress": pytest.approx([0.06, 0.03]),
        "held_out_loss": [4.0, 1.0],
        "held_out_energy": [0.1, 0.05],
        "held_out_force": [0.3, 0.2],
    }


def test_a_curve_without_held_out_frames_has_no_such_columns(tmp_path: Path) -> None:
    (tmp_path / "lcurve.out").write_text("# step rmse rmse_e rmse_f lr\n 10 2.0 0.1 0.3 1e-3\n")
    curve = read_curve(tmp_path / "lcurve.out", 0, density=0.1)
    assert curve.columns == {"axis": [10], "loss": [4.0], "energy": [0.1], "force": [0.3]}
