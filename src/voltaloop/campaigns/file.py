"""The campaign file: what a user writes, every key documented where it is declared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from voltaloop.core import (
    FAILURE_REASONS,
    CampaignFileError,
    FailureReason,
    Registry,
    Rung,
    UnknownBackendError,
    did_you_mean,
)
from voltaloop.core.durations import Duration
from voltaloop.executors.catalogue import EXECUTORS, Pool
from voltaloop.potentials import POTENTIALS
from voltaloop.references import REFERENCES, Gate


class Section(BaseModel):
    """A part of the campaign file; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as booleans, which pass as 1 and 0."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool:
            raise ValueError(f"expected no yes or no here, got {str(value).lower()}")
        return value


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


class RungSection(Section):
    """One more try for a calculation that failed."""

    name: str = Field(min_length=1, description="what is tried, in words")
    reasons: Annotated[list[FailureReason], Field(min_length=1)] = Field(
        description="the failures it may help against: " + ", ".join(FAILURE_REASONS)
    )
    options: dict[str, Any] = Field(
        description="options of the engine that change; they must not change the level of theory"
    )


class ReferenceSection(EngineSection):
    """The engine taken as truth."""

    engine: str = Field(
        "chgnet", description="chgnet, gpaw, tblite or ase (any ASE calculator by import path)"
    )
    gate: Gate = Field(default_factory=Gate, description="what a label must keep to be accepted")
    ladder: list[RungSection] | None = Field(
        None,
        description="tries after a failed calculation, in this order (null: the engine's own, "
        "[]: none); what still fails is put into quarantine",
    )
    relax: bool = Field(
        True,
        description="also relax the answer's structures with the reference itself, to compare "
        "(switch off where one label takes minutes)",
    )


class PotentialSection(EngineSection):
    """The force field that learns."""

    engine: str = Field("pod", description="pod, gap, mace, chgnet or deepmd")


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


class PoolSection(BaseModel):
    """Where tasks of one kind run; the other keys are the executor's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    executor: str = Field(
        "local", description="local (processes of this machine), parsl (clusters) or dask"
    )

    @property
    def options(self) -> dict[str, Any]:
        """The executor's own options."""
        return dict(self.model_extra or {})


def _pool_section(value: Any) -> Any:
    """A bare number counts processes of this machine."""
    if isinstance(value, bool) or not isinstance(value, int | Mapping | PoolSection):
        raise ValueError(
            f"expected a number of processes, or an executor with its options, got {value!r}"
        )
    if isinstance(value, int):
        if value < 1:
            raise ValueError(f"expected 1 process or more, got {value}")
        return {"workers": value}
    return value


Workers = Annotated[
    PoolSection, BeforeValidator(_pool_section, json_schema_input_type=PositiveInt | PoolSection)
]


def _workers(what: str) -> Any:
    return Field(1, validate_default=True, description=what)


class Resources(Section):
    """Workers of each pool: a number of processes of this machine, or an executor.

    threads, task_limit and memory_GB hold for every pool that does not say otherwise.
    """

    explore: Workers = _workers("molecular dynamics and relaxations")
    label: Workers = _workers("reference calculations")
    train: Workers = _workers("training and scoring")
    threads: PositiveInt = Field(1, description="threads of each worker")
    task_limit: Duration = Field(
        6 * 3600.0,
        description="longest time of one task; it is then ended and tried once more",
        validate_default=False,
    )
    memory_GB: float | None = Field(
        None,
        gt=0,
        description="most memory of one task with the programs it starts; it is then ended and "
        "tried once more (null: no limit)",
    )


POOLS = ("explore", "label", "train")


def pools_of(resources: Resources) -> dict[str, Pool]:
    """The executor of each pool, not yet started. Raises UnknownBackendError or, for options that
    the executor does not take, pydantic's ValidationError."""
    return {name: _pool(resources, name) for name in POOLS}


def _pool(resources: Resources, name: str) -> Pool:
    section: PoolSection = getattr(resources, name)
    backend = EXECUTORS.load(section.executor)
    settings = backend.Settings.model_validate(section.options)
    general = {key: getattr(resources, key) for key in ("threads", "task_limit", "memory_GB")}
    unsaid = {key: value for key, value in general.items() if key not in settings.model_fields_set}
    return backend(settings.model_copy(update=unsaid))


def capacity(resources: Resources) -> dict[str, int]:
    """Tasks that can run at once, by pool."""
    return {name: pool.capacity for name, pool in pools_of(resources).items()}


class Store(Section):
    """Where the event log lies. Structures, labels and models always lie in the campaign folder."""

    url: str | None = Field(
        None,
        description="postgresql://USER@HOST/DATABASE, or $NAME to take the whole URL from that "
        "environment variable; no password here: libpq reads ~/.pgpass and PGPASSWORD "
        "(null: events.sqlite in the campaign folder)",
    )
    db_schema: str | None = Field(
        None,
        alias="schema",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="PostgreSQL schema that holds this campaign (null: voltaloop_NAME)",
    )

    @field_validator("url")
    @classmethod
    def _without_a_password(cls, url: str | None) -> str | None:
        if url is not None:
            check_store_url(url)
        return url


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
    store: Store = Field(default_factory=Store)

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


S = TypeVar("S", bound=Section)


def parse_as(model: type[S], text: str, where: str, hint: tuple[str, str]) -> S:
    """YAML as a model; hint: keys that it begins with, and how to begin such a file.

    Raises CampaignFileError with every mistake found.
    """
    try:
        data = _UniqueKeys(text).get_single_data()
    except (yaml.YAMLError, ValueError) as err:  # ValueError: an impossible date, for example
        raise CampaignFileError(f"{where} is not valid YAML: {err}") from err
    if not isinstance(data, Mapping):
        keys, how = hint
        raise CampaignFileError(
            f"{where}: expected keys such as {keys}, got {type(data).__name__}. {how}"
        )
    try:
        return model.model_validate(dict(data))
    except ValidationError as err:
        raise CampaignFileError(explained(where, err, model)) from err


def parse_campaign(text: str, where: str) -> CampaignFile:
    """The campaign in ``text``; ``where`` names it in errors."""
    hint = "name and material", "Write a commented example with: voltaloop init NAME"
    campaign = parse_as(CampaignFile, text, where, hint)
    check_engine(REFERENCES, campaign.reference, "reference", where)
    _check_ladder(campaign.reference, where)
    _check_pools(campaign.resources, where)
    potential = check_engine(POTENTIALS, campaign.potential, "potential", where)
    members, frames = getattr(potential, "members", 2), campaign.material.starting.frames
    if members < 2:
        raise CampaignFileError(
            f"{where}: potential.members ({members}) must be at least 2: one model alone has no "
            "spread, and a campaign needs one to know where it is unsure."
        )
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
        raise CampaignFileError(explained(where, err, model, (key,), own)) from err


def _check_ladder(section: ReferenceSection, where: str) -> None:
    """Every rung must give options that the engine takes."""
    model: type[BaseModel] = REFERENCES.load(section.engine).Settings
    for index, rung in enumerate(ladder_of_section(section)):
        try:
            model.model_validate(rung.applied_to(section.options))
        except ValidationError as err:
            place = ("reference", "ladder", str(index), "options")
            raise CampaignFileError(explained(where, err, model, place)) from err


def _check_pools(resources: Resources, where: str) -> None:
    for name in POOLS:
        section: PoolSection = getattr(resources, name)
        try:
            backend = EXECUTORS.load(section.executor)
        except UnknownBackendError as err:
            raise CampaignFileError(f"{where}: resources.{name}.executor: {err}") from err
        try:
            backend.Settings.model_validate(section.options)
        except ValidationError as err:
            place = ("resources", name)
            raise CampaignFileError(
                explained(where, err, backend.Settings, place, ("executor",))
            ) from err


def ladder_of(campaign: CampaignFile) -> tuple[Rung, ...]:
    """What is tried when the reference fails, in this order."""
    return ladder_of_section(campaign.reference)


def ladder_of_section(section: ReferenceSection) -> tuple[Rung, ...]:
    if section.ladder is None:
        return REFERENCES.load(section.engine).LADDER
    return tuple(
        Rung(name=rung.name, reasons=tuple(rung.reasons), options=rung.options)
        for rung in section.ladder
    )


def check_store_url(url: str) -> None:
    """Raise ValueError for what no event log can be kept in, or for a password in plain sight."""
    if url.startswith("$"):
        if not re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", url):
            raise ValueError("expected the name of one environment variable after '$'")
        return
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise ValueError("expected postgresql://USER@HOST/DATABASE, or $NAME of a variable")
    if parts.password is not None or "password" in parts.query:
        raise ValueError(
            "a password must not stand in the campaign file, which is copied into reports; put "
            "it into ~/.pgpass or PGPASSWORD, or the whole URL into a variable and give its $NAME"
        )


def build_engine(registry: Registry[Any], section: EngineSection) -> Any:
    """The engine of a section, built from its options."""
    engine = registry.load(section.engine)
    return engine(engine.Settings.model_validate(section.options))


def explained(
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
            model = None if field is None else model_in(field.annotation)
    known = [] if owner is None else list(owner.model_fields)
    return _Place(path=path, known=known, description=description)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field of this annotation holds, where it can hold one."""
    candidates = [annotation, *get_args(annotation)]
    models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
    return models[0] if models else None
