from pathlib import Path

import pytest
from puppet import campaign_text

from voltaloop.campaigns import CampaignFile, parse_campaign, read_campaign_file
from voltaloop.campaigns.file import ladder_of, pools_of
from voltaloop.core import CampaignFileError
from voltaloop.core.durations import parse_duration
from voltaloop.references import REFERENCES

MINIMAL = "name: lno\nmaterial: {structure: LiNiO2}\n"


def refusal(text: str) -> str:
    with pytest.raises(CampaignFileError) as caught:
        parse_campaign(text, "lno.yaml")
    return str(caught.value)


def test_name_and_structure_are_enough_and_the_rest_has_defaults() -> None:
    campaign = parse_campaign(MINIMAL, "lno.yaml")
    assert campaign.material.lithium == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert campaign.material.supercell == (2, 2, 1)
    assert (campaign.reference.engine, campaign.potential.engine) == ("chgnet", "pod")
    assert campaign.explore.temperature == (300.0, 900.0)
    assert (campaign.stop.labels, campaign.stop.wall_time) == (150, 600.0)
    assert campaign.select.random_share == 0.15


def test_options_of_an_engine_are_kept_beside_its_name() -> None:
    campaign = parse_campaign(MINIMAL + "reference: {engine: chgnet, dispersion: none}", "f")
    assert campaign.reference.options == {"dispersion": "none"}


def test_contents_are_sorted_from_full_to_empty() -> None:
    text = "name: a\nmaterial: {structure: LiNiO2, lithium: [0, 1, 0.5]}"
    assert parse_campaign(text, "f").material.lithium == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("1.5 m", 90)]
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    campaign = parse_campaign(MINIMAL + f"stop: {{wall_time: {text}}}", "f")
    assert campaign.stop.wall_time == seconds


@pytest.mark.parametrize("value", ["10", "10 min", "m", "-5m", "1e3s", "", "10m 5s", 600, None])
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="a number with a unit s, m, h or d such as 90s, 10m"):
        parse_duration(value)


def test_a_duration_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero, got '0m'"):
        parse_duration("0m")


# -- unknown keys -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "key", "meant"),
    [
        ("stpo: {labels: 30}", "stpo", "stop"),
        ("stop: {label: 30}", "stop.label", "labels"),
        ("explore: {temprature: [300, 900]}", "explore.temprature", "temperature"),
        ("reference: {engnie: chgnet}", "reference.engnie", "engine"),
        ("reference: {disperson: d3bj}", "reference.disperson", "dispersion"),
        ("reference: {gate: {max_force: 9}}", "reference.gate.max_force", "max_force_eV_per_A"),
        ("potential: {membres: 8}", "potential.membres", "members"),
        ("potential: {basis: {towbody: 6}}", "potential.basis.towbody", "twobody"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    extra: str, key: str, meant: str
) -> None:
    message = refusal(MINIMAL + extra)
    assert message.startswith("lno.yaml cannot be used:\n")
    assert f"unknown key '{key}'. Did you mean '{meant}'? Known here: " in message
    assert meant in message.partition("Known here: ")[2]


def test_a_key_deep_in_the_material_is_found_too() -> None:
    text = "name: a\nmaterial: {structure: LiNiO2, starting: {ratle_A: 0.1}}"
    assert "'material.starting.ratle_A'. Did you mean 'rattle_A'?" in refusal(text)


def test_an_unknown_key_that_resembles_nothing_lists_what_is_known() -> None:
    message = refusal(MINIMAL + "zzz: 1")
    assert "Did you mean" not in message
    assert "Known here: audit, explore, material, name, potential, reference," in message


def test_every_mistake_of_a_file_is_named_at_once() -> None:
    lines = refusal(MINIMAL + "stop: {labels: -1, wall_tme: 3m}\naudit: {labels: 0}").splitlines()
    assert len(lines) == 4
    assert {line.split()[1].rstrip(":") for line in lines[1:]} == {
        "stop.labels",
        "unknown",
        "audit.labels",
    }


# -- wrong units, types and ranges ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "key", "text"),
    [
        ("stop: {wall_time: 10}", "stop.wall_time", "a unit s, m, h or d such as 90s, 10m"),
        ("explore: {temperature: 300 K}", "explore.temperature", "highest temperature in K"),
        ("explore: {temperature: [300 K, 900]}", "explore.temperature.0", "temperature in K"),
        ("explore: {pressure_GPa: 1 bar}", "explore.pressure_GPa", "pressure in GPa"),
        ("explore: {pressure_GPa: .nan}", "explore.pressure_GPa", "a finite number"),
        ("explore: {timestep_fs: 0.001 ps}", "explore.timestep_fs", "time step in fs"),
        ("explore: {steps: many}", "explore.steps", "steps of a full run"),
        ("explore: {ensemble: nve}", "explore.ensemble", "'nvt' or 'npt'"),
        ("explore: {engine: gromacs}", "explore.engine", "'lammps'"),
        ("stop: {volume_change_percent: 1 %}", "stop.volume_change_percent", "percentage points"),
        ("stop: {voltage_V: 50 mV}", "stop.voltage_V", "average voltage in V"),
        ("reference: {gate: {max_force_eV_per_A: big}}", "reference.gate.max_force", "eV/Å"),
        ("potential: {basis: huge}", "potential.basis", "'small', 'medium' or 'large'"),
        ("potential: {basis: {rcut: 50}}", "potential.basis.rcut", "outer cutoff in Å"),
        ("audit: 20", "audit", "a valid dictionary"),
        ("seed: first", "seed", "every random choice derives from it"),
    ],
)
def test_a_wrong_unit_or_type_is_refused_with_what_was_expected(
    extra: str, key: str, text: str
) -> None:
    message = refusal(MINIMAL + extra)
    assert f"  - {key}" in message
    assert text in message
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize(
    "extra",
    [
        "stop: {labels: 0}",
        "stop: {labels: -150}",
        "audit: {labels: 0}",
        "select: {batch: 0}",
        "resources: {threads: -1}",
        "resources: {label: {workers: 0}}",
        "resources: {label: {memory_GB: 0}}",
        "stop: {voltage_V: 0}",
        "stop: {volume_change_percent: -0.5}",
        "explore: {steps: 0}",
        "explore: {sample_every: 0}",
        "potential: {members: 0}",
    ],
)
def test_zero_and_negative_budgets_are_refused(extra: str) -> None:
    *sections, last = extra.split(": {")
    key = ".".join([*sections, last.partition(":")[0]])
    message = refusal(MINIMAL + extra)
    assert f"  - {key}: Input should be greater than" in message
    assert message.count("\n") == 1


def test_a_random_share_below_a_tenth_is_refused() -> None:
    message = refusal(MINIMAL + "select: {random_share: 0.05}")
    assert "select.random_share: Input should be greater than or equal to 0.1, got 0.05" in message
    assert "they feed the calibration" in message


@pytest.mark.parametrize(
    ("lithium", "text"),
    [
        ("[1.0, 0.5, 0.5]", "material.lithium: lithium contents must differ from each other"),
        ("[1.0, -0.5]", "material.lithium: lithium contents must not be negative"),
        ("[1.0]", "at least 2 items"),
        ("[1.0, .nan]", "material.lithium.1: Input should be a finite number, got nan"),
        ("[1.0, .inf]", "material.lithium.1: Input should be a finite number, got inf"),
        ("[full, empty]", "material.lithium.0: Input should be a valid number"),
        ("half", "Input should be a valid list, got 'half'"),
    ],
)
def test_senseless_lithium_contents_are_refused(lithium: str, text: str) -> None:
    assert text in refusal(f"name: a\nmaterial: {{structure: LiNiO2, lithium: {lithium}}}")


@pytest.mark.parametrize("repeats", ["[2, 2]", "[2, 2, 0]", "[2, 2, 1.5]", "2"])
def test_a_supercell_is_three_whole_numbers_above_zero(repeats: str) -> None:
    text = f"name: a\nmaterial: {{structure: LiNiO2, supercell: {repeats}}}"
    assert "material.supercell" in refusal(text)


def test_temperatures_must_rise() -> None:
    message = refusal(MINIMAL + "explore: {temperature: [900, 300]}")
    assert "expected 0 < lowest <= highest <= 5000 K, got [900.0, 300.0]" in message


def test_trust_levels_must_be_in_order() -> None:
    text = MINIMAL + "select: {lower_trust_eV_per_A: 2, upper_trust_eV_per_A: 1}"
    assert "lower_trust_eV_per_A (2.0) must be below upper (1.0)" in refusal(text)


def test_a_run_must_hold_at_least_one_sample() -> None:
    text = MINIMAL + "explore: {steps: 40, sample_every: 50}"
    assert "sample_every (50) must not exceed steps (40)" in refusal(text)


def test_a_label_budget_that_the_starting_frames_use_up_is_refused() -> None:
    message = refusal(MINIMAL + "stop: {labels: 25}")
    assert "stop.labels (25) must exceed material.starting.frames (25)" in message


def test_more_members_than_starting_frames_are_refused() -> None:
    message = refusal(campaign_text(potential={"members": 7}))
    assert "material.starting.frames (6) must be at least potential.members (7)" in message
    assert parse_campaign(campaign_text(potential={"members": 6}), "f").potential.options


def test_a_missing_key_is_named() -> None:
    assert refusal("name: a") == "lno.yaml cannot be used:\n  - material is missing."
    assert "material.structure is missing." in refusal("name: a\nmaterial: {}")
    assert "name is missing." in refusal("material: {structure: LiNiO2}")


@pytest.mark.parametrize("name", ["../up", "a/b", "''", "-dash", "two words", "x" * 65, "7", "on"])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    assert "  - name: " in refusal(f"name: {name}\nmaterial: {{structure: LiNiO2}}")


# -- engines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "engine", "meant"),
    [("reference", "chgnte", "chgnet"), ("reference", "gpw", "gpaw"), ("potential", "pdo", "pod")],
)
def test_an_unknown_engine_is_refused_with_the_nearest_known_one(
    section: str, engine: str, meant: str
) -> None:
    message = refusal(MINIMAL + f"{section}: {{engine: {engine}}}")
    assert f"lno.yaml: {section}.engine: Unknown {section} '{engine}'." in message
    assert f"Did you mean '{meant}'? Known: " in message


def test_the_import_path_of_an_ase_calculator_is_asked_for() -> None:
    assert "reference.calculator is missing." in refusal(MINIMAL + "reference: {engine: ase}")


# -- the file itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"), [("- name: a\n- b\n", "list"), ("", "NoneType"), ("just words", "str")]
)
def test_a_file_without_keys_is_refused_with_a_way_to_begin(text: str, kind: str) -> None:
    message = refusal(text)
    assert f"expected keys such as name and material, got {kind}" in message
    assert "voltaloop init NAME" in message


@pytest.mark.parametrize(
    "text", ["name: [a", "name: a\n\tmaterial: b", "a: b: c", "x: !!python/1", "? [a]\n: b"]
)
def test_invalid_yaml_is_refused(text: str) -> None:
    assert refusal(text).startswith("lno.yaml is not valid YAML: ")


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        (MINIMAL + "stop: {labels: 30}\nseed: 2\nstop: {voltage_V: 0.1}\n", "stop", 5),
        (MINIMAL + "stop:\n  labels: 30\n  labels: 40\n", "labels", 5),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(text: str, key: str, line: int) -> None:
    message = refusal(text)
    assert message.startswith(f"lno.yaml is not valid YAML: key '{key}' stands twice")
    assert f"line {line}," in message


def test_the_same_key_in_two_sections_is_fine() -> None:
    campaign = parse_campaign(MINIMAL + "stop: {labels: 60}\naudit: {labels: 6}", "f")
    assert (campaign.stop.labels, campaign.audit.labels) == (60, 6)


def test_an_impossible_date_is_refused_as_yaml() -> None:
    assert "lno.yaml is not valid YAML: month must be in 1..12" in refusal("seed: 2024-13-45")


def test_keys_that_are_numbers_are_refused() -> None:
    assert "  - 1: Keys should be strings" in refusal(MINIMAL + "1: 2")


def test_a_missing_file_is_refused_with_a_way_to_begin(tmp_path: Path) -> None:
    with pytest.raises(CampaignFileError, match=r"There is no .*: voltaloop init NAME"):
        read_campaign_file(tmp_path / "none.yaml")


def test_a_folder_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignFileError, match="cannot be read"):
        read_campaign_file(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(CampaignFileError, match="cannot be read"):
        read_campaign_file(tmp_path / "b.yaml")


def test_a_read_file_gives_the_campaign_and_its_very_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MINIMAL + "# a remark\n")
    campaign, text = read_campaign_file(tmp_path / "a.yaml")
    assert campaign == CampaignFile.model_validate(
        {"name": "lno", "material": {"structure": "LiNiO2"}}
    )
    assert text == MINIMAL + "# a remark\n"


# -- where tasks run, how they are tried again, where the log lies ------------------------------


def test_a_pool_is_a_number_of_processes_or_an_executor_with_its_options() -> None:
    text = MINIMAL + (
        "resources: {explore: 3, label: {workers: 2, task_limit: 1h, memory_GB: 4}, threads: 2}"
    )
    pools = pools_of(parse_campaign(text, "f").resources)
    assert {name: pool.capacity for name, pool in pools.items()} == {
        "explore": 3,
        "label": 2,
        "train": 1,
    }
    assert [pools[name].settings.task_limit for name in pools] == [21600, 3600, 21600]
    assert [pools[name].settings.memory_GB for name in pools] == [None, 4, None]
    assert [pools[name].settings.threads for name in pools] == [2, 2, 2]


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ("resources: {label: 0}", "resources.label: expected 1 process or more, got 0"),
        ("resources: {label: true}", "resources.label: expected no yes or no here, got true"),
        ("resources: {label: many}", "resources.label: expected a number of processes, or"),
        ("resources: {label: {executor: prasl}}", "resources.label.executor: Unknown executor"),
        ("resources: {label: {executor: prasl}}", "Did you mean 'parsl'?"),
        ("resources: {label: {wrokers: 2}}", "unknown key 'resources.label.wrokers'. Did you"),
        ("resources: {label: {task_limit: 5}}", "a unit s, m, h or d such as 90s, 10m"),
        ("select: {batch: yes}", "select.batch: expected no yes or no here, got true"),
        ("seed: off", "seed: expected no yes or no here, got false"),
    ],
)
def test_a_pool_or_number_that_makes_no_sense_is_refused(extra: str, text: str) -> None:
    assert text in refusal(MINIMAL + extra)


def ladder(rung: str) -> str:
    return f"reference: {{engine: tblite, ladder: [{rung}]}}"


def test_without_a_ladder_in_the_file_the_engine_s_own_is_climbed() -> None:
    campaign = parse_campaign(MINIMAL + "reference: {engine: gpaw}", "f")
    assert ladder_of(campaign) == REFERENCES.load("gpaw").LADDER
    assert ladder_of(parse_campaign(MINIMAL + "reference: {engine: gpaw, ladder: []}", "f")) == ()


def test_a_ladder_of_the_file_wins_over_the_engine_s_own() -> None:
    rung = "{name: patient, reasons: [not_converged], options: {max_iterations: 2000}}"
    (only,) = ladder_of(parse_campaign(MINIMAL + ladder(rung), "f"))
    assert (only.name, only.reasons) == ("patient", ("not_converged",))
    assert only.applied_to({"accuracy": 1.0}) == {"accuracy": 1.0, "max_iterations": 2000}


@pytest.mark.parametrize(
    ("rung", "text"),
    [
        ("{name: a, reasons: [tired], options: {}}", "reference.ladder.0.reasons.0"),
        ("{name: a, reasons: [], options: {}}", "reference.ladder.0.reasons"),
        ("{name: a, reasons: [crashed]}", "reference.ladder.0.options is missing"),
        (
            "{name: a, reasons: [crashed], options: {max_iteration: 9}}",
            "unknown key 'reference.ladder.0.options.max_iteration'. Did you mean",
        ),
        (
            "{name: a, reasons: [crashed], options: {max_iterations: 0}}",
            "reference.ladder.0.options.max_iterations",
        ),
    ],
)
def test_a_rung_that_the_engine_does_not_take_is_refused(rung: str, text: str) -> None:
    assert text in refusal(MINIMAL + ladder(rung))


@pytest.mark.parametrize(
    "url", ["postgresql://ada@db.example.org/campaigns", "postgresql:///campaigns", "$STORE_URL"]
)
def test_the_log_may_lie_in_a_database(url: str) -> None:
    text = MINIMAL + f"store: {{url: {url}, schema: lno_1}}"
    store = parse_campaign(text, "f").store
    assert (store.url, store.db_schema) == (url, "lno_1")


@pytest.mark.parametrize(
    "url",
    ["postgresql://ada:secret@db/campaigns", "postgresql://ada@db/campaigns?password=secret"],
)
def test_a_password_in_the_file_is_refused_and_not_repeated(url: str) -> None:
    message = refusal(MINIMAL + f"store: {{url: '{url}'}}")
    assert "a password must not stand in the campaign file" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "url", ["mysql://db/campaigns", "postgresql://db", "$NOT-A-NAME", "$", "events.sqlite"]
)
def test_what_is_no_address_of_a_database_is_refused(url: str) -> None:
    assert "store.url: expected" in refusal(MINIMAL + f"store: {{url: '{url}'}}")


@pytest.mark.parametrize("schema", ["Lno", "1a", "a-b", "a; drop schema public", "x" * 64])
def test_a_schema_that_would_have_to_be_quoted_is_refused(schema: str) -> None:
    assert "store.schema" in refusal(MINIMAL + f"store: {{schema: '{schema}'}}")


def test_a_committee_of_one_is_refused() -> None:
    text = "name: lno\nmaterial: {structure: LiNiO2}\npotential: {engine: mace, members: 1}\n"
    with pytest.raises(CampaignFileError, match=r"potential.members \(1\) must be at least 2"):
        parse_campaign(text, "lno.yaml")


@pytest.mark.parametrize("engine", ["chgnet", "deepmd", "gap", "mace", "pod"])
def test_every_engine_can_be_named_and_everything_else_stays_the_same(engine: str) -> None:
    text = "name: lno\nmaterial: {structure: LiNiO2}\npotential: {engine: %s, members: 5}\n"
    campaign = parse_campaign(text % engine, "lno.yaml")
    assert (campaign.potential.engine, campaign.potential.options) == (engine, {"members": 5})
