"""The reference ``faulty`` fails on purpose, to try out what a campaign survives.

It wraps another reference. Which frame meets which fault follows from a seed and the frame's
content alone (:func:`planned_fault`), what was injected is on disk before it acts (:func:`tries`),
and what should have become of it is known (:data:`EXPECTED`), so every outcome can be checked.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import fcntl
import json
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from voltaloop.core import (
    FAILURE_REASONS,
    CampaignFileError,
    Frame,
    Label,
    ReferenceFailure,
    Rung,
    StorageError,
    UnknownBackendError,
    digest_of,
)
from voltaloop.references import build_reference
from voltaloop.references.moments import TOTAL_MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltaloop.core.contracts import Reference

Kind = Literal[
    "not_converged",
    "unconverged_label",
    "nan",
    "huge_forces",
    "flipped_moments",
    "hang",
    "raise",
    "segfault",
    "out_of_memory",
    "half_file",
    "late",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Fate = Literal["passing", "cured", "lasting"]
FATES: tuple[Fate, ...] = get_args(Fate)

EXPECTED: Mapping[Kind, frozenset[str]] = MappingProxyType(
    {
        "not_converged": frozenset({"not_converged"}),
        "unconverged_label": frozenset({"not_converged"}),
        "nan": frozenset({"not_finite"}),
        "huge_forces": frozenset({"force_too_large"}),
        "flipped_moments": frozenset({"moments_jumped", "moments_insane", "energy_inconsistent"}),
        "hang": frozenset({"timed_out"}),
        "raise": frozenset({"engine_failed"}),
        "segfault": frozenset({"crashed"}),
        "out_of_memory": frozenset({"out_of_memory"}),
        "half_file": frozenset({"engine_failed"}),
        "late": frozenset({"timed_out"}),
    }
)
"""The reasons of ``FAILURE_REASONS`` that are right for a lasting fault of each kind.

A passing or cured fault must end in the label that the wrapped reference gives.
"""

MARK = "injected_fault"
"""In the ``details`` of every spoilt label: the kind of its fault. No training set may hold one."""

UNCONVERGED_SHIFT_EV = 0.05
"""Energy error per atom of a label that is not converged."""

HUGE_FORCE_EV_PER_A = 1e4

MAGNETIC_MUB = 0.3
"""Atoms with at least this moment count as magnetic. Oxygen next to them stays below."""

FLIP_ENERGY_EV = 0.15
"""Energy per magnetic atom above that of the right magnetic state."""

FLIP_FORCE_EV_PER_A = 0.02

_MEMORY_STEP_BYTES = 64_000_000
_MEMORY_PACE_S = 0.02
_MEMORY_HOLD_S = 2.0


class FaultySettings(BaseModel):
    """Options of the reference ``faulty``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wraps: dict[str, JsonValue] = Field(
        description="The reference whose labels are spoilt: its name as `engine`, and its options.",
    )
    folder: str = Field(
        description="Absolute path of a folder where the tries of every faulted frame are kept, "
        "one file each. All workers must reach it; use a new one for a new campaign.",
    )
    seed: int = Field(
        default=1, ge=0, description="With the content of a frame it decides on its fault."
    )
    rate: float = Field(
        default=0.2, ge=0, le=1, description="Share of the frames that meet a fault, 0 to 1."
    )
    kinds: tuple[Kind, ...] = Field(
        default=KINDS, description=f"Kinds of fault, equally likely. Known: {', '.join(KINDS)}."
    )
    fates: dict[Fate, float] = Field(
        default={"passing": 0.5, "cured": 0.25, "lasting": 0.25},
        description="Shares of the faults, together 1, that pass after `tries` tries, that the "
        "retry ladder cures, and that come back at every try.",
    )
    tries: int = Field(default=1, ge=1, description="Tries that a passing fault spoils.")
    rung: int = Field(
        default=0,
        ge=0,
        description="Set by the retry ladder: from 1 on, a fault that the ladder cures is gone.",
    )
    hang_s: float = Field(
        default=3600.0,
        gt=0,
        description="Seconds that `hang` takes when nobody ends it; must exceed the time limit of "
        "a task.",
    )
    late_s: float = Field(
        default=600.0,
        gt=0,
        description="Seconds after which `late` gives the right label; must exceed the time limit "
        "of a task.",
    )
    memory_GB: float = Field(
        default=2.0,
        gt=0,
        description="Memory in GB (10^9 bytes) that `out_of_memory` takes at most; should exceed "
        "the memory limit of a task, and the machine must have it.",
    )

    @field_validator("wraps")
    @classmethod
    def _another_reference(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        _wrapped(value)
        return value

    @field_validator("folder")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not Path(value).is_absolute():
            raise ValueError(
                f"expected an absolute path, because a worker may run in another folder than you, "
                f"got '{value}'; here that would be '{Path(value).absolute()}'"
            )
        return value

    @field_validator("kinds")
    @classmethod
    def _some_and_each_once(cls, value: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(
                f"expected one or more different kinds, got {list(value)}; to inject nothing set "
                "rate to 0"
            )
        return value

    @field_validator("fates")
    @classmethod
    def _shares(cls, value: dict[Fate, float]) -> dict[Fate, float]:
        if min(value.values(), default=0.0) < 0 or abs(sum(value.values()) - 1) > 1e-6:
            raise ValueError(
                f"expected shares of {', '.join(FATES)} that are not negative and add up to 1, "
                f"got {value}"
            )
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a frame meets.

    frame: digest of the frame; fate: "passing" (gone after ``tries`` tries), "cured" (by the retry
    ladder) or "lasting"; otherwise: the kind injected instead where ``kind`` is flipped_moments and
    the wrapped reference gives no moment to flip, None where nothing is injected then.
    """

    frame: str
    kind: Kind
    fate: Fate
    otherwise: Kind | None = None

    def strikes(self, number: int, settings: FaultySettings) -> bool:
        """Whether it spoils try ``number`` (from 1) of a reference with these settings."""
        match self.fate:
            case "passing":
                return number <= settings.tries
            case "cured":
                return settings.rung == 0
            case "lasting":
                return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try to label a frame that has a fault.

    number: from 1, over all processes; rung: of the retry ladder; injected: False when the fault
    was over, and the label is the wrapped reference's; time: seconds since 1970.
    """

    frame: str
    kind: Kind
    number: int
    rung: int
    injected: bool
    pid: int
    time: float


def planned_fault(settings: FaultySettings, frame: Frame) -> Fault | None:
    """The fault that the frame meets, or None: from the seed and the frame's content alone.

    Frames that meet a fault at one rate meet the same one at every higher rate.
    """
    digest = frame.digest
    if _draw(settings, digest, "met") >= settings.rate:
        return None
    kinds = [kind for kind in KINDS if kind in settings.kinds]
    kind = _pick(kinds, _draw(settings, digest, "kind"))
    others = [other for other in kinds if other != "flipped_moments"]
    otherwise = None
    if kind == "flipped_moments" and others:
        otherwise = _pick(others, _draw(settings, digest, "otherwise"))
    fate = _fate(settings.fates, _draw(settings, digest, "fate"))
    return Fault(frame=digest, kind=kind, fate=fate, otherwise=otherwise)


def tries(folder: Path | str) -> Mapping[str, Sequence[Try]]:
    """Every try of every frame with a fault, by the frame's digest, in their order.

    A try is on disk before its fault acts, so one that is not listed never acted. Raises
    StorageError when the folder cannot be read.
    """
    with _storage(folder):
        files = sorted(path for path in os.listdir(folder) if path.endswith(".jsonl"))
        lines = {name: _whole_lines((Path(folder) / name).read_bytes()) for name in files}
    return {
        name.removesuffix(".jsonl"): [Try(**json.loads(line)) for line in found]
        for name, found in lines.items()
        if found
    }


@dataclass(frozen=True, slots=True)
class Faulty:
    """Another reference, some of whose labels are spoilt, lost or never come.

    A frame without a fault, or whose fault is over, gets the very label of the wrapped reference.
    Segmentation faults and full memory are real: use it in pools of processes only.
    """

    Settings: ClassVar[type[FaultySettings]] = FaultySettings
    LADDER: ClassVar[tuple[Rung, ...]] = (
        Rung(
            name="again, without the faults that the ladder cures",
            reasons=FAILURE_REASONS,
            options={"rung": 1},
        ),
    )

    settings: FaultySettings

    @property
    def wrapped(self) -> Reference:
        """The reference whose labels are the right ones."""
        return _wrapped(self.settings.wraps)

    def check_installed(self) -> None:
        """Raises what the wrapped reference raises, StorageError when the folder is not usable."""
        self.wrapped.check_installed()
        with _storage(self.settings.folder):
            os.makedirs(self.settings.folder, exist_ok=True)
            TemporaryFile(dir=self.settings.folder).close()

    def executes(self) -> list[str]:
        """What the wrapped reference runs of the campaign file; faults run nothing of it."""
        wrapped: Any = self.wrapped
        return [f"wraps: {what}" for what in wrapped.executes()]

    def label(self, frame: Frame) -> Label:
        """The label of the wrapped reference, unless the frame's fault strikes.

        Raises what the fault raises (or ends the process), StorageError when the try cannot be
        written down.
        """
        fault = planned_fault(self.settings, frame)
        if fault is None:
            return self.wrapped.label(frame)
        right = cache(lambda: self.wrapped.label(frame))
        kind = _kind_met(fault, right)
        if kind is None or not self._struck(fault, kind):
            return right()
        return _INJECTED[kind](_Injection(settings=self.settings, fault=fault, right=right))

    def _struck(self, fault: Fault, kind: Kind) -> bool:
        """Write this try down; whether the fault spoils it."""
        folder = Path(self.settings.folder)
        with _storage(folder), _locked(folder / f"{fault.frame}.jsonl") as file:
            number = _count_whole_lines(file) + 1
            injected = fault.strikes(number, self.settings)
            done = Try(
                frame=fault.frame,
                kind=kind,
                number=number,
                rung=self.settings.rung,
                injected=injected,
                pid=os.getpid(),
                time=time.time(),
            )
            _append(file, json.dumps(asdict(done)).encode() + b"\n")
            _sync_folder(folder)
        return injected


@dataclass(frozen=True, slots=True, kw_only=True)
class _Injection:
    """What a fault may know. right: computes the right label once; random: the same at every try of
    the frame."""

    settings: FaultySettings
    fault: Fault
    right: Callable[[], Label]

    @property
    def random(self) -> np.random.Generator:
        place = digest_of([self.settings.seed, self.fault.frame, "place"])
        return np.random.default_rng(int(place, 16))


def _unconverged(injection: _Injection) -> Label:
    label = injection.right()
    energy = label.energy + UNCONVERGED_SHIFT_EV * len(label.forces)
    return _marked(label, "unconverged_label", energy=energy, converged=False)


def _not_finite(injection: _Injection) -> Label:
    """NaN in one number of the energy, the forces, the stress or the moments."""
    label, random = injection.right(), injection.random
    names = ("energy", "forces", "stress", "magmoms")
    name = str(random.choice([name for name in names if getattr(label, name) is not None]))
    values = np.array(getattr(label, name), dtype=np.float64)
    values.flat[random.integers(values.size)] = np.nan
    return _marked(label, "nan", **{name: values})


def _huge_forces(injection: _Injection) -> Label:
    label, random = injection.right(), injection.random
    forces = np.array(label.forces)
    direction = random.normal(size=3)
    atom = random.integers(len(forces))
    forces[atom] = HUGE_FORCE_EV_PER_A * direction / np.linalg.norm(direction)
    return _marked(label, "huge_forces", forces=forces)


def _flipped_moments(injection: _Injection) -> Label:
    """Another magnetic state: one or half of the magnetic atoms turned, a little higher in energy,
    forces a little different and still without a net force."""
    label, random = injection.right(), injection.random
    magnetic = _magnetic(label)
    count = int(random.choice([1, max(len(magnetic) // 2, 1)]))
    before = np.array(label.magmoms)
    magmoms = before.copy()
    magmoms[random.permutation(magnetic)[:count]] *= -1
    change = random.normal(0.0, FLIP_FORCE_EV_PER_A, label.forces.shape)
    return _marked(
        _with_total_moment(label, float(magmoms.sum() - before.sum())),
        "flipped_moments",
        energy=label.energy + FLIP_ENERGY_EV * len(magnetic),
        forces=label.forces + change - change.mean(axis=0),
        magmoms=magmoms,
    )


def _with_total_moment(label: Label, change: float) -> Label:
    """With the engine's own total moment changed too, where its label gives one."""
    total = label.details.get(TOTAL_MOMENT)
    if not isinstance(total, int | float):
        return label
    return replace(label, details={**label.details, TOTAL_MOMENT: total + change})


def _half_file(injection: _Injection) -> Label:
    """An engine that dies while it writes its result; reading that fails by itself."""
    text = json.dumps(injection.right().to_json())
    with TemporaryDirectory(prefix="voltaloop-faulty-") as scratch:
        file = Path(scratch) / "result.json"
        file.write_text(text[: len(text) // 2])
        return Label.from_json(json.loads(file.read_text()))


def _late(injection: _Injection) -> Label:
    label = injection.right()
    time.sleep(injection.settings.late_s)
    return label


def _not_converged(_: _Injection) -> NoReturn:
    steps = "\n".join(f"iter {n:3d}  dE = {0.3 * (-1) ** n:+.3f} eV" for n in range(181, 201))
    raise ReferenceFailure(
        "not_converged",
        "after 200 iterations the energy still swings by 0.6 eV (injected)",
        files={"scf.txt": steps},
    )


def _hang(injection: _Injection) -> NoReturn:
    """Asleep, or inside compiled code that lets no other thread of the process run either."""
    until = time.monotonic() + injection.settings.hang_s
    poll = ctypes.PyDLL(None).poll
    asleep = injection.random.random() < 0.5
    while (left := until - time.monotonic()) > 0:
        if asleep:
            time.sleep(left)
        else:
            poll(None, 0, int(min(left, 60.0) * 1000) + 1)
    raise RuntimeError(
        f"A fault that hangs was over after hang_s = {injection.settings.hang_s:g} s because "
        "nobody ended it. Give the tasks a shorter time limit."
    )


class _Unportable(Exception):  # noqa: N818 - only its kind matters
    """Cannot be pickled: it holds a function, and ``args`` are not what its ``__init__`` takes."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} at step {step} (injected)")
        self.retry = lambda: step


_RAISED: tuple[Callable[[], BaseException], ...] = (
    lambda: RuntimeError("MPI_Abort was called with code 17 (injected)"),
    lambda: KeyError("forces"),
    lambda: ZeroDivisionError("float division by zero (injected)"),
    lambda: FileNotFoundError(2, "No such file or directory (injected)", "WAVECAR"),
    lambda: _Unportable("eigensolver", 7),
    lambda: SystemExit(3),
)


def _raise(injection: _Injection) -> NoReturn:
    raise _RAISED[injection.random.integers(len(_RAISED))]()


def _segfault(_: _Injection) -> NoReturn:
    """Read address 0, leaving neither a core file nor a traceback of faulthandler behind."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    faulthandler.disable()
    ctypes.string_at(0)
    raise RuntimeError("Reading address 0 did not end the process (injected).")


def _out_of_memory(injection: _Injection) -> NoReturn:
    """Fill memory in steps until somebody ends it or the system refuses more."""
    limit = injection.settings.memory_GB * 1e9
    held: list[Any] = []
    try:
        while (taken := len(held) * _MEMORY_STEP_BYTES) < limit:
            step = int(min(_MEMORY_STEP_BYTES, limit - taken))
            held.append(np.ones(step, dtype=np.uint8))
            time.sleep(_MEMORY_PACE_S)
        time.sleep(_MEMORY_HOLD_S)  # for limits that are looked at now and then
    finally:
        held.clear()
    raise MemoryError(f"no more memory after {injection.settings.memory_GB:g} GB (injected)")


_SPOILING: Mapping[Kind, Callable[[_Injection], Label]] = {
    "unconverged_label": _unconverged,
    "nan": _not_finite,
    "huge_forces": _huge_forces,
    "flipped_moments": _flipped_moments,
    "half_file": _half_file,
    "late": _late,
}
_INJECTED: Mapping[Kind, Callable[[_Injection], Label]] = {
    **_SPOILING,
    "not_converged": _not_converged,
    "hang": _hang,
    "raise": _raise,
    "segfault": _segfault,
    "out_of_memory": _out_of_memory,
}


def _kind_met(fault: Fault, right: Callable[[], Label]) -> Kind | None:
    """The kind to inject. A reference that fails by itself does so here, and meets no fault."""
    if fault.kind not in _SPOILING:
        return fault.kind
    label = right()
    if fault.kind == "flipped_moments" and len(_magnetic(label)) == 0:
        return fault.otherwise
    return fault.kind


def _magnetic(label: Label) -> Any:
    """Indices of the atoms whose moment is worth flipping."""
    if label.magmoms is None:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.abs(label.magmoms) >= MAGNETIC_MUB)


def _marked(label: Label, kind: Kind, **changes: Any) -> Label:
    return replace(label, details={**label.details, MARK: kind}, **changes)


def _wrapped(wraps: Mapping[str, JsonValue]) -> Reference:
    """The reference that is wrapped. Raises ValueError for one that cannot be."""
    engine = wraps.get("engine")
    if not isinstance(engine, str):
        raise ValueError(
            "expected the name of a reference as `engine` and its options beside it, for example "
            f"{{engine: chgnet}}, got {dict(wraps)}"
        )
    if engine == "faulty":
        raise ValueError("expected a reference other than 'faulty', which cannot wrap itself")
    options = {key: value for key, value in wraps.items() if key != "engine"}
    try:
        return build_reference(engine, options)
    except (UnknownBackendError, CampaignFileError) as err:
        raise ValueError(" ".join(str(err).split()).rstrip(".")) from err


def _draw(settings: FaultySettings, digest: str, what: str) -> float:
    """A number from 0 up to 1 that every machine and version draws alike."""
    return int(digest_of([settings.seed, digest, what])[:13], 16) / 16**13


def _pick(kinds: Sequence[Kind], draw: float) -> Kind:
    return kinds[int(draw * len(kinds))]


def _fate(shares: Mapping[Fate, float], draw: float) -> Fate:
    possible = [fate for fate in FATES if shares.get(fate, 0.0) > 0]
    for fate in possible:
        draw -= shares[fate]
        if draw < 0:
            return fate
    return possible[-1]  # the shares add up to a little less than 1


@contextmanager
def _storage(folder: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise StorageError(
            f"The folder {folder} of the reference 'faulty' cannot be used: {err.strerror}. "
            "Expected one that every worker may write to; see reference.folder."
        ) from err


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The open file, held by this process and thread alone; what is written goes to its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _count_whole_lines(file: int) -> int:
    """How many there are, after a line is cut off whose writer was killed: it had not acted."""
    content = os.pread(file, os.fstat(file).st_size, 0)
    lines = _whole_lines(content)
    os.ftruncate(file, sum(len(line) + 1 for line in lines))
    return len(lines)


def _append(file: int, line: bytes) -> None:
    """Write to the disk. Raises OSError where not all of it fits."""
    if os.write(file, line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    """A new file is safe once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole_lines(content: bytes) -> list[bytes]:
    return content.split(b"\n")[:-1]
