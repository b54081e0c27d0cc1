"""The files of ``voltaloop compare`` and ``voltaloop tune``: every key documented where it is
declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from voltaloop.campaigns.file import (
    EngineSection,
    PotentialSection,
    Section,
    check_engine,
    explained,
    model_in,
    parse_as,
)
from voltaloop.core import CampaignFileError, did_you_mean
from voltaloop.core.durations import Duration
from voltaloop.potentials import POTENTIALS

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

SOURCES = ("campaign", "extxyz", "ase_db", "deepmd")

OPTIONS_OF: dict[str, tuple[str, ...]] = {
    "origins": ("campaign",),
    "energy": ("extxyz", "ase_db"),
    "forces": ("extxyz", "ase_db"),
    "stress": ("extxyz", "ase_db"),
    "box_A": ("extxyz", "ase_db"),
}
"""Which sources take a key."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class LabelsSection(Section):
    """Where labelled frames come from: one of campaign, extxyz, ase_db and deepmd."""

    campaign: str | None = Field(None, description="a campaign folder, runs/NAME")
    extxyz: Annotated[list[str], BeforeValidator(_as_list)] | None = Field(
        None, description="one extended XYZ file, or a list of them"
    )
    ase_db: str | None = Field(None, description="an ASE database file")
    deepmd: str | None = Field(None, description="a folder of DeePMD-kit systems (deepmd/npy)")
    origins: Literal["training", "audit", "all"] = Field(
        "training", description="of a campaign: its training labels, its audit, or both"
    )
    energy: str = Field("energy", min_length=1, description="key of the energy in eV")
    forces: str = Field("forces", min_length=1, description="key of the forces in eV/Å")
    stress: str | None = Field(
        "stress",
        min_length=1,
        description="key of the stress in eV/Å3, positive = tension; frames without it are taken "
        "without (null: read none)",
    )
    box_A: float = Field(
        60.0, gt=0, description="edge in Å of the cubic cell for frames that have none"
    )

    @model_validator(mode="after")
    def _one_source(self) -> LabelsSection:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(SOURCES)}, got {_listed(given)}")
        for key in self.model_fields_set & set(OPTIONS_OF):
            if given[0] not in OPTIONS_OF[key]:
                raise ValueError(
                    f"'{key}' goes with {' and '.join(OPTIONS_OF[key])}, not with {given[0]}"
                )
        return self

    @property
    def source(self) -> str:
        """Which of the sources it is."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def places(self) -> list[str]:
        """Files or folders, as they are written."""
        value = getattr(self, self.source)
        return list(value) if isinstance(value, list) else [value]


class HeldBackSection(Section):
    """The frames that nothing is trained on: a random share of the labels, or a set of its own."""

    share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="of the labels, chosen at random for each split; frames of one trajectory then "
        "fall on both sides, so a set of its own is the harder examination",
    )
    labels: LabelsSection | None = Field(None, description="a set of its own; its keys as labels")

    @model_validator(mode="after")
    def _one_of_them(self) -> HeldBackSection:
        if (self.share is None) == (self.labels is None):
            raise ValueError("expected either share or labels")
        return self


class StudyResources(Section):
    """What the work runs on: processes of this machine, a new one for every run."""

    workers: PositiveInt = Field(
        1, description="runs at a time; more than 1 disturb each other's times"
    )
    threads: PositiveInt = Field(1, description="threads of each worker")
    task_limit: Duration = Field(
        6 * 3600.0, validate_default=False, description="longest time of one run: 30m, 2h"
    )
    memory_GB: float | None = Field(
        None,
        gt=0,
        description="most memory of one run, with the programs it starts (null: no limit)",
    )


class ComparedPotential(EngineSection):
    """A potential to compare; the other keys are the engine's own options."""

    engine: str = Field(description="pod, gap, mace, chgnet or deepmd")
    name: str | None = Field(
        None, min_length=1, description="what it is called in tables (null: its engine)"
    )
    task_limit: Duration | None = Field(
        None, description="longest time of one run (null: as resources.task_limit)"
    )

    @property
    def title(self) -> str:
        return self.name or self.engine


Size = int | Literal["all"]


def _sizes(value: Any) -> list[Size]:
    sizes = value if isinstance(value, list) else [value]
    wrong = [one for one in sizes if one != "all" and (type(one) is not int or one < 1)]
    if wrong or not sizes:
        raise ValueError(f"expected numbers of frames or all, got {value!r}")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"a size stands twice in {value!r}")
    return sizes


TrainSizes = Annotated[list[Size], BeforeValidator(_sizes)]


class CompareFile(Section):
    """Several potentials on the same labels and splits."""

    name: str = Field(
        pattern=NAME, description="letters, digits, '.', '_' and '-'; also the folder"
    )
    seed: int = Field(1, ge=0, lt=2**31, description="the splits derive from it")
    labels: LabelsSection = Field(description="what is learned from")
    test: HeldBackSection = Field(
        default_factory=lambda: HeldBackSection(share=0.2), description="what is examined on"
    )
    train_sizes: TrainSizes = Field(
        ["all"],
        validate_default=True,
        description="numbers of training frames, such as [25, 50, 100, all]; each is a part of the "
        "next",
    )
    splits: PositiveInt = Field(1, description="random splits; every figure is their mean")
    retrain_frames: int = Field(
        8,
        ge=0,
        description="frames that come new when training goes on from the last committee, as in a "
        "campaign; they are kept out of all sizes (0: do not retrain)",
    )
    md_steps: int = Field(
        100, ge=20, description="steps of the molecular dynamics that measures the speed"
    )
    potentials: Annotated[list[ComparedPotential], Field(min_length=1)] = Field(
        description="the engines, each with its options"
    )
    resources: StudyResources = Field(default_factory=StudyResources)

    @model_validator(mode="after")
    def _different_names(self) -> CompareFile:
        counted = Counter(one.title for one in self.potentials)
        twice = [title for title, count in counted.items() if count > 1]
        if twice:
            raise ValueError(f"two potentials are called '{twice[0]}'; give them different names")
        return self


class Range(Section):
    """Numbers to try. Where low and high are whole numbers, only whole numbers are tried."""

    low: int | float = Field(description="smallest value")
    high: int | float = Field(description="largest value; 4.0 instead of 4 for decimals")
    log: bool = Field(False, description="whether to try them evenly on a logarithmic scale")
    step: int | float | None = Field(None, gt=0, description="distance of values to try")

    @model_validator(mode="after")
    def _makes_sense(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, got {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.step is not None:
            self._step_fits(self.step)
        return self

    def _step_fits(self, step: float) -> None:
        if self.whole and not isinstance(step, int):
            raise ValueError(f"step of whole numbers must be one, got {step}")
        steps = (self.high - self.low) / step
        if abs(steps - round(steps)) > 1e-9:
            raise ValueError(f"steps of {step} do not lead from {self.low} to {self.high}")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def corners(self) -> list[Any]:
        """Values that an engine must take."""
        return [self.low, self.high]


class Choices(Section):
    """Values to try, one of a list."""

    choices: Annotated[list[Any], Field(min_length=2)] = Field(description="the values")

    @property
    def corners(self) -> list[Any]:
        return list(self.choices)


def _range_or_choices(value: Any) -> Any:
    if isinstance(value, Range | Choices):
        return value
    if not isinstance(value, Mapping) or not ({"choices", "low"} & set(value)):
        raise ValueError(
            "expected {low: ..., high: ...}, {low: ..., high: ..., log: true} or {choices: [...]}, "
            f"got {value!r}"
        )
    return value


Searched = Annotated[Range | Choices, BeforeValidator(_range_or_choices)]


class Validation(Section):
    """How a setting is scored: on frames that its committee has not seen."""

    folds: int | None = Field(
        None, ge=2, le=20, description="k-fold: as many committees for each setting"
    )
    share: float | None = Field(
        None, gt=0, lt=1, description="one committee, scored on this share of the frames"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Validation:
        if (self.folds is None) == (self.share is None):
            raise ValueError("expected either folds or share")
        return self


class TuneFile(Section):
    """A search for good options of one potential on a labelled set."""

    name: str = Field(
        pattern=NAME, description="letters, digits, '.', '_' and '-'; also the folder"
    )
    seed: int = Field(1, ge=0, lt=2**31, description="splits and trials derive from it")
    labels: LabelsSection = Field(description="what is learned from")
    test: HeldBackSection = Field(
        default_factory=lambda: HeldBackSection(share=0.2),
        description="frames that the search never sees; the best and the present setting are "
        "examined on them at the end",
    )
    potential: PotentialSection = Field(
        default_factory=PotentialSection, description="the engine and its fixed options"
    )
    search: Annotated[dict[str, Searched], Field(min_length=1)] = Field(
        description="option of the engine (nested ones with dots: basis.rcut) to what is tried"
    )
    validation: Validation = Field(
        default_factory=lambda: Validation(folds=3), description="how a setting is scored"
    )
    trials: PositiveInt = Field(30, description="settings to try")
    wall_time: Duration | None = Field(
        None, description="no trial is begun later than this: 30m, 2h (null: no limit)"
    )
    sampler: Literal["tpe", "nsga2", "random"] = Field(
        "tpe",
        description="tpe (good for tens of trials), nsga2 (for hundreds) or random",
    )
    resources: StudyResources = Field(default_factory=StudyResources)


def read_compare_file(path: Path) -> tuple[CompareFile, str]:
    """The validated file and its text. Raises CampaignFileError with every mistake found."""
    text = _text(path)
    hint = "name, labels and potentials", "See examples/lno-compare.yaml."
    found = parse_as(CompareFile, text, str(path), hint)
    for index, section in enumerate(found.potentials):
        check_engine(POTENTIALS, section, f"potentials.{index}", str(path))
    return found, text


def read_tune_file(path: Path) -> tuple[TuneFile, str]:
    """The validated file and its text. Raises CampaignFileError with every mistake found."""
    text = _text(path)
    hint = "name, labels and search", "See examples/lno-tune.yaml."
    found = parse_as(TuneFile, text, str(path), hint)
    check_engine(POTENTIALS, found.potential, "potential", str(path))
    _check_search(found, str(path))
    return found, text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise CampaignFileError(f"There is no file {path}.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise CampaignFileError(f"{path} cannot be read: {err}") from err


def _check_search(found: TuneFile, where: str) -> None:
    """Every option must be one of the engine's, and the engine must take what is tried."""
    settings: type[BaseModel] = POTENTIALS.load(found.potential.engine).Settings
    for name, searched in found.search.items():
        _check_name(name, settings, where)
        _check_unfixed(name, found.potential.options, where)
        for value in searched.corners:
            _check_value(name, value, found.potential.options, settings, where)


def _check_name(name: str, settings: type[BaseModel], where: str) -> None:
    """Every part of a dotted name must be an option of the one before."""
    model: type[BaseModel] | None = settings
    parts = name.split(".")
    for index, part in enumerate(parts):
        if model is None:
            return
        if part not in model.model_fields:
            known = list(model.model_fields)
            key = ".".join(["search", *parts[: index + 1]])
            raise CampaignFileError(
                f"{where}: unknown option '{key}'.{did_you_mean(part, known)} "
                f"Known here: {', '.join(sorted(known))}."
            )
        annotation = model.model_fields[part].annotation
        model = model_in(annotation)
        if model is None and index + 1 < len(parts) and "dict" not in str(annotation).lower():
            raise CampaignFileError(
                f"{where}: search.{name}: '{'.'.join(parts[: index + 1])}' is a value and has no "
                f"option '{parts[index + 1]}' inside."
            )


def _check_unfixed(name: str, options: Mapping[str, Any], where: str) -> None:
    """What is searched within must not be fixed as a whole."""
    place: Any = options
    for part in name.split("."):
        if not isinstance(place, Mapping):
            raise CampaignFileError(
                f"{where}: search.{name}: potential gives {place!r} where this option would lie. "
                "Leave that out, or write its keys."
            )
        place = place.get(part, {})


def _check_value(
    name: str, value: Any, options: Mapping[str, Any], settings: type[BaseModel], where: str
) -> None:
    """Mistakes at the option itself; what depends on other options is a matter of the trial."""
    try:
        settings.model_validate(with_values(options, {name: value}))
    except ValidationError as err:
        parts = tuple(name.split("."))
        mine = [one for one in err.errors() if _lies_at(one["loc"], parts)]
        if mine:
            told = explained(where, err, settings, ("search",)).splitlines()[1:]
            raise CampaignFileError(
                "\n".join([f"{where} cannot be used: search.{name} tries {value!r}:", *told])
            ) from err


def _lies_at(location: Sequence[int | str], parts: Sequence[str]) -> bool:
    """Whether a pydantic error is about this option; the tags of unions lie in between."""
    named = iter(str(part) for part in location)
    return all(part in named for part in parts)


def with_values(options: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The options with dotted names set; sections on the way are copied or made."""
    changed = dict(options)
    for name, value in values.items():
        *sections, last = name.split(".")
        place = changed
        for section in sections:
            place[section] = dict(place.get(section) or {})
            place = place[section]
        place[last] = value
    return changed


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if names else "none of them"


def resolved(places: Sequence[str], base: Path) -> Iterator[Path]:
    """Paths relative to ``base``; ``~`` and ``$VARIABLES`` are put in."""
    from os.path import expandvars

    for place in places:
        yield base / Path(expandvars(place)).expanduser()
