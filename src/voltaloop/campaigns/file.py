"""The campaign file: what a user writes, every key documented where it is declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from voltaloop.core import CampaignFileError, Registry, UnknownBackendError, did_you_mean
from voltaloop.core.durations import Duration
from voltaloop.potentials import POTENTIALS
from voltaloop.references import REFERENCES, Gate


class Section(BaseModel):
    """A part of the campaign file; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False
    )


class Starting(Section):
    """The first frames, made before any potential exists: strained and rattled orderings."""

    frames: PositiveInt = Field(25, description="how many, shared evenly by the lithium contents")
    rattle_A: float = Field(
        0.08, gt=0, le=0.5, description="standard deviation of the displacements in Å"
    )
    strain: float = Field(
        0.02, ge=0, le=0.1, description="standard deviation of the strain components"
    )


class Material(Section):
    """What is explored."""

    structure: str = Field(
        min_length=1,
        description="a built-in prototype (LiCoO2, LiMnO2, LiNiO2) or the path of a CIF, POSCAR "
        "or other file that ASE reads, relative to the campaign file; with all its lithium",
    )
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (2, 2, 1), description="repeats along the three vectors of the structure"
    )
    lithium: Annotated[list[float], Field(min_length=2)] = Field(
        [1.0, 0.75, 0.5, 0.25, 0.0], description="contents x of Li_x MO2 to explore"
    )
    orderings: PositiveInt = Field(
        4, description="most Li/vacancy orderings for each content; more are sampled from the seed"
    )
    starting: Starting = Field(default_factory=Starting, description="the first frames")

    @field_validator("lithium")
    @classmethod
    def _different_and_not_negative(cls, contents: list[float]) -> list[float]:
        if any(x < 0 for x in contents):
            raise ValueError("lithium contents must not be negative")
        if len(set(contents)) != len(contents):
            raise ValueError("lithium contents must differ from each other")
        return sorted(contents, reverse=True)


class EngineSection(BaseModel):
    """An engine by name; the other keys are the engine's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    engine: str

    @property
    def options(self) -> dict[str, Any]:
        """The engine's own options."""
        return dict(self.model_extra or {})


class ReferenceSection(EngineSection):
    """The engine taken as truth."""

    engine: str = Field(
        "chgnet", description="chgnet, gpaw, tblite or ase (any ASE calculator by import path)"
    )
    gate: Gate = Field(default_factory=Gate, description="what a label must keep to be accepted")
    relax: bool = Field(
        True,
        description="also relax the answer's structures with the reference itself, to compare "
        "(switch off where one label takes minutes)",
    )


class PotentialSection(EngineSection):
    """The force field that learns."""

    engine: str = Field("pod", description="pod")


class Explore(Section):
    """Molecular dynamics with the committee mean."""

    engine: Literal["lammps"] = Field("lammps", description="lammps")
    ensemble: Literal["nvt", "npt"] = Field("npt", description="npt lets the cell move")
    temperature: tuple[float, float] = Field(
        (300.0, 900.0), description="lowest and highest temperature in K; every run ramps up"
    )
    pressure_GPa: float = Field(0.0, ge=-50, le=200, description="pressure in GPa")
    steps: int = Field(4000, ge=20, description="steps of a full run; first runs are shorter")
    timestep_fs: float = Field(1.0, gt=0, le=5, description="time step in fs")
    sample_every: int = Field(50, ge=1, description="steps between two assessed frames")

    @field_validator("temperature")
    @classmethod
    def _rising_temperatures(cls, temperature: tuple[float, float]) -> tuple[float, float]:
        low, high = temperature
        if not 0 < low <= high <= 5000:
            raise ValueError(f"expected 0 < lowest <= highest <= 5000 K, got [{low}, {high}]")
        return temperature

    @model_validator(mode="after")
    def _samples_within_a_run(self) -> Explore:
        if self.sample_every > self.steps:
            raise ValueError(
                f"sample_every ({self.sample_every}) must not exceed steps ({self.steps})"
            )
        return self


class Select(Section):
    """Which frames are labelled."""

    batch: PositiveInt = Field(8, description="labels between two trainings")
    random_share: float = Field(
        0.15,
        ge=0.1,
        le=1.0,
        description="share of labels chosen at random; they feed the calibration (at least 0.1)",
    )
    lower_trust_eV_per_A: float | None = Field(
        None, gt=0, description="a force sigma above it is uncertain, eV/Å (null: from the noise)"
    )
    upper_trust_eV_per_A: float | None = Field(
        None, gt=0, description="a force sigma above it is broken, eV/Å (null: from the noise)"
    )

    @model_validator(mode="after")
    def _lower_below_upper(self) -> Select:
        low, high = self.lower_trust_eV_per_A, self.upper_trust_eV_per_A
        if low is not None and high is not None and low >= high:
            raise ValueError(f"lower_trust_eV_per_A ({low}) must be below upper ({high})")
        return self


class Audit(Section):
    """The final examination: fresh frames, labelled and never trained on."""

    labels: PositiveInt = Field(20, description="frames, shared evenly by the lithium contents")


class Stop(Section):
    """When learning ends; whatever comes first. Audit and answer follow."""

    labels: PositiveInt = Field(150, description="labels in training")
    volume_change_percent: float | None = Field(
        0.5, gt=0, description="± of the volume change on full delithiation, percentage points"
    )
    voltage_V: float | None = Field(0.05, gt=0, description="± of the average voltage in V")
    wall_time: Duration = Field(
        600.0, description="longest time of learning: 90s, 10m, 2h, 1d", validate_default=False
    )


class Resources(Section):
    """Workers of each pool on this machine."""

    explore: PositiveInt = Field(1, description="molecular dynamics and relaxations")
    label: PositiveInt = Field(1, description="reference calculations")
    train: PositiveInt = Field(1, description="training and scoring")
    threads: PositiveInt = Field(1, description="threads of each worker")
    task_limit: Duration = Field(
        6 * 3600.0,
        description="longest time of one task; it is then ended and tried again",
        validate_default=False,
    )


def capacity(resources: Resources) -> dict[str, int]:
    """Workers by pool."""
    return {"explore": resources.explore, "label": resources.label, "train": resources.train}


class CampaignFile(Section):
    """One closed loop: from a material to volume and voltage with error bars."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="letters, digits, '.', '_' and '-'; also the folder in runs/",
    )
    seed: int = Field(1, ge=0, lt=2**31, description="every random choice derives from it")
    material: Material
    reference: ReferenceSection = Field(default_factory=ReferenceSection)
    potential: PotentialSection = Field(default_factory=PotentialSection)
    explore: Explore = Field(default_factory=Explore)
    select: Select = Field(default_factory=Select)
    audit: Audit = Field(default_factory=Audit)
    stop: Stop = Field(default_factory=Stop)
    resources: Resources = Field(default_factory=Resources)

    @model_validator(mode="after")
    def _budget_holds_the_starting_frames(self) -> CampaignFile:
        if self.material.starting.frames >= self.stop.labels:
            raise ValueError(
                f"stop.labels ({self.stop.labels}) must exceed material.starting.frames "
                f"({self.material.starting.frames})"
            )
        return self


def read_campaign_file(path: Path) -> tuple[CampaignFile, str]:
    """The validated campaign and its text. Raises CampaignFileError with every mistake found."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise CampaignFileError(
            f"There is no campaign file {path}. Write one with: voltaloop init NAME"
        ) from err
    except (OSError, UnicodeDecodeError) as err:
        raise CampaignFileError(f"The campaign file {path} cannot be read: {err}") from err
    return parse_campaign(text, str(path)), text


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in one place, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key '{key.value}' stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def parse_campaign(text: str, where: str) -> CampaignFile:
    """The campaign in ``text``; ``where`` names it in errors."""
    try:
        data = _UniqueKeys(text).get_single_data()
    except (yaml.YAMLError, ValueError) as err:  # ValueError: an impossible date, for example
        raise CampaignFileError(f"{where} is not valid YAML: {err}") from err
    if not isinstance(data, Mapping):
        raise CampaignFileError(
            f"{where}: expected keys such as name and material, got {type(data).__name__}. "
            "Write a commented example with: voltaloop init NAME"
        )
    try:
        campaign = CampaignFile.model_validate(dict(data))
    except ValidationError as err:
        raise CampaignFileError(_explained(where, err, CampaignFile)) from err
    check_engine(REFERENCES, campaign.reference, "reference", where)
    potential = check_engine(POTENTIALS, campaign.potential, "potential", where)
    members, frames = getattr(potential, "members", 1), campaign.material.starting.frames
    if frames < members:
        raise CampaignFileError(
            f"{where}: material.starting.frames ({frames}) must be at least potential.members "
            f"({members}): every member leaves out one share of them."
        )
    return campaign


def check_engine(
    registry: Registry[Any], section: EngineSection, key: str, where: str
) -> BaseModel:
    """The engine's validated options."""
    try:
        engine = registry.load(section.engine)
    except UnknownBackendError as err:
        raise CampaignFileError(f"{where}: {key}.engine: {err}") from err
    model: type[BaseModel] = engine.Settings
    try:
        return model.model_validate(section.options)
    except ValidationError as err:
        own = tuple(type(section).model_fields)
        raise CampaignFileError(_explained(where, err, model, (key,), own)) from err


def build_engine(registry: Registry[Any], section: EngineSection) -> Any:
    """The engine of a section, built from its options."""
    engine = registry.load(section.engine)
    return engine(engine.Settings.model_validate(section.options))


def _explained(
    where: str,
    err: ValidationError,
    model: type[BaseModel],
    prefix: tuple[str, ...] = (),
    also_known: tuple[str, ...] = (),
) -> str:
    """One line for each mistake; ``also_known``: keys at the prefix beside those of ``model``."""
    errors = [dict(error) for error in err.errors()]
    lines = [
        _sentence(error, model, prefix, also_known)
        for error in errors
        if not _is_about_the_other_choice(error, errors)
    ]
    return "\n".join([f"{where} cannot be used:", *(f"  - {line}" for line in lines)])


def _is_about_the_other_choice(error: dict[str, Any], errors: list[dict[str, Any]]) -> bool:
    """Where a key takes a name or keys of its own, complaints about the one not given."""
    if error["type"] == "literal_error" and isinstance(error["input"], Mapping):
        return True
    place = error["loc"][:-1]
    return error["type"] == "model_type" and any(
        other["type"] == "literal_error" and other["loc"][:-1] == place for other in errors
    )


def _sentence(
    error: dict[str, Any],
    model: type[BaseModel],
    prefix: tuple[str, ...],
    also_known: tuple[str, ...],
) -> str:
    place = _place(model, error["loc"])
    key = ".".join([*prefix, *place.path]) or "the file"
    if error["type"] == "extra_forbidden":
        known = [*place.known, *(also_known if len(place.path) == 1 else ())]
        return (
            f"unknown key '{key}'.{did_you_mean(str(error['loc'][-1]), known)} "
            f"Known here: {', '.join(sorted(known))}."
        )
    if error["type"] == "missing":
        return f"{key} is missing."
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}."
    meaning = f" Expected: {place.description.rstrip('.')}." if place.description else ""
    return f"{key}: {message}, got {error['input']!r}.{meaning}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where in the file something is wrong: keys and list places, the keys known beside the last
    one, and what the innermost key means."""

    path: list[str]
    known: list[str]
    description: str | None


def _place(model: type[BaseModel] | None, location: Iterable[Any]) -> _Place:
    """The place of a pydantic error; the tags of unions, which no user wrote, are left out."""
    path: list[str] = []
    owner, description = model, None
    for part in map(str, location):
        if "[" in part or (model is not None and part == model.__name__):
            continue
        path.append(part)
        if not part.isdecimal():
            owner = model
            field = None if owner is None else owner.model_fields.get(part)
            description = None if field is None else field.description
            model = None if field is None else _model_in(field.annotation)
    known = [] if owner is None else list(owner.model_fields)
    return _Place(path=path, known=known, description=description)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *get_args(annotation)]
    models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
    return models[0] if models else None
