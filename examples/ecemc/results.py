"""All figures of a run, as rows for the table, the JSON file and the plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evaluation import Errors
from scanning import Scan

MISSING = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One engine trained on one generation. errors: by set; rotated_meV: largest less smallest
    energy of one molecule turned about; scan: densities and energies of the liquid."""

    engine: str
    generation: str
    n_frames: int
    members: int
    wall_s: float
    cpu_s: float
    ms_per_atom: float | None
    held_out: Mapping[str, float]
    hyperparameters: Mapping[str, float]
    errors: Mapping[str, Errors]
    rotated_meV: float | None
    scan: Scan | None
    scan_error_meV: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure of others for the same data: errors on the test set in meV/Å and meV/atom."""

    name: str
    n_frames: int
    force: float
    energy: float | None = None
    net_force: float | None = None
    ms_per_atom: float | None = None
    wall_s: float | None = None


PUBLISHED = (
    Published(
        name="GAP, published",
        n_frames=200,
        force=252.0,
        energy=6.6,
        net_force=339.0,
        ms_per_atom=2.4,
        wall_s=330.0,
    ),
    Published(name="small MACE, published", n_frames=50, force=550.0),
    Published(name="small MACE, published", n_frames=200, force=211.0, energy=20.0),
)
"""GAP: two-body and SOAP, cutoff 4 Å, 800 sparse points. MACE: the tutorial of the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything a run found. sizes: how large the labels themselves are, by set."""

    rows: Sequence[Row]
    sizes: Mapping[str, Errors]
    reference_scan: Scan | None
    liquid_density: float
    versions: Mapping[str, str]


HEADERS = (
    "potential",
    "frames",
    "force",
    "energy",
    "net force",
    "transl.",
    "rotat.",
    "internal",
    "E intra",
    "E inter",
    "learning",
    "speed",
)
UNITS = (
    "",
    "",
    "meV/Å",
    "meV/atom",
    "meV/Å",
    "meV/Å",
    "meV/Å",
    "meV/Å",
    "meV/atom",
    "meV/molecule",
    "CPU s",
    "CPU ms/atom",
)


def table(results: Results, name: str) -> list[tuple[str, ...]]:
    """Rows of text for one set: the fits, on the test set the published figures, the labels."""
    rows = [_fit_cells(row, row.errors[name]) for row in results.rows if name in row.errors]
    if name == "test":
        rows += [_published_cells(one) for one in PUBLISHED]
    if name in results.sizes:
        sizes = _error_cells(results.sizes[name])
        rows.append(("(the labels themselves)", MISSING, *sizes, MISSING, MISSING))
    return rows


def _fit_cells(row: Row, errors: Errors) -> tuple[str, ...]:
    speed = MISSING if row.ms_per_atom is None else f"{row.ms_per_atom:.2g}"
    name = f"{row.engine}, {row.generation}"
    return (name, str(row.n_frames), *_error_cells(errors), f"{row.cpu_s:.0f}", speed)


def _published_cells(one: Published) -> tuple[str, ...]:
    net = MISSING if one.net_force is None else f"{one.net_force:.0f}"
    energy = MISSING if one.energy is None else f"{one.energy:.1f}"
    wall = MISSING if one.wall_s is None else f"{one.wall_s:.0f} (wall)"
    speed = MISSING if one.ms_per_atom is None else f"{one.ms_per_atom:.2g}"
    parts = (MISSING,) * 5
    return (one.name, str(one.n_frames), f"{one.force:.0f}", energy, net, *parts, wall, speed)


def _error_cells(errors: Errors) -> tuple[str, ...]:
    forces = (errors.translational, errors.rotational, errors.internal)
    return (
        _number(errors.force),
        _number(errors.energy, 1),
        MISSING if errors.inter is None else _number(errors.net_force),
        *(_number(part) for part in forces),
        _number(errors.intra, 1),
        MISSING if errors.inter is None else _number(errors.inter),
    )


def _number(value: float, digits: int = 0) -> str:
    """With fixed digits, unless it has exploded."""
    return f"{value:.{digits}f}" if value < 1e6 else f"{value:.1e}"


def scan_rows(results: Results) -> list[tuple[str, ...]]:
    """Density of least energy and distance from the reference's curve, for every fit."""
    rows: list[tuple[str, ...]] = [
        (
            f"{row.engine}, {row.generation}",
            _density(row.scan),
            MISSING if row.scan_error_meV is None else _number(row.scan_error_meV),
            MISSING if row.rotated_meV is None else f"{row.rotated_meV:.2g}",
        )
        for row in results.rows
        if row.scan is not None
    ]
    if results.reference_scan is not None:
        rows.append(("GFN2-xTB", _density(results.reference_scan), MISSING, MISSING))
    return rows


SCAN_HEADERS = ("potential", "least energy at", "off the reference", "turned molecule")
SCAN_UNITS = ("", "g/cm3", "meV/molecule", "meV")


def _density(scan: Scan) -> str:
    return MISSING if scan.lowest is None else f"{scan.lowest:.2f}"


def markdown(headers: Sequence[str], units: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with the units below the names."""
    names = [f"{h} ({u})" if u else h for h, u in zip(headers, units, strict=True)]
    lines = [names, ["---"] + ["--:"] * (len(names) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def as_json(results: Results) -> str:
    """Everything, for programs."""
    data: dict[str, Any] = {
        "rows": [{**asdict(row), "scan": _scan_json(row.scan)} for row in results.rows],
        "published": [asdict(one) for one in PUBLISHED],
        "labels": {name: asdict(errors) for name, errors in results.sizes.items()},
        "reference_scan": _scan_json(results.reference_scan),
        "liquid_density_g_cm3": results.liquid_density,
        "versions": dict(results.versions),
    }
    return json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _scan_json(scan: Scan | None) -> dict[str, Any] | None:
    if scan is None:
        return None
    return {
        "densities_g_cm3": scan.densities.tolist(),
        "energies_eV_per_molecule": scan.energies.tolist(),
        "lowest_g_cm3": scan.lowest,
    }
