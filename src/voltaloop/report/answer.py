"""The content of answer.json as an object whose lists are known to fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Optional = float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageStep:
    """One plateau of the profile, from x_from down to x_to (x_from > x_to); V against bcc Li."""

    x_from: float
    x_to: float
    voltage_V: float
    err: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HullPoint:
    """Energy of one ordering in eV per formula unit, and whether it lies on the convex hull."""

    x: float
    energy_eV_per_fu: float
    on_hull: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Volumes in Å3 per formula unit, a and c in Å; None where answer.json has null or nothing.

    Beside the keys that answer.json always has, these are read when present: a_err, c_err,
    reference_a_A, reference_c_A, reference_voltage_steps, hull, orderings (as hull, without
    on_hull), heldout_stress_rmse_GPa, error_meaning (what ± stands for, in words).
    """

    reference: str
    potential: str
    x: tuple[float, ...]
    volume: tuple[Optional, ...]
    volume_err: tuple[Optional, ...]
    a: tuple[Optional, ...]
    a_err: tuple[Optional, ...]
    c: tuple[Optional, ...]
    c_err: tuple[Optional, ...]
    reference_volume: tuple[Optional, ...]
    reference_a: tuple[Optional, ...]
    reference_c: tuple[Optional, ...]
    voltage_steps: tuple[VoltageStep, ...]
    reference_voltage_steps: tuple[VoltageStep, ...]
    hull: tuple[HullPoint, ...]
    scalars: Mapping[str, Optional]
    stopped_because: str | None
    error_meaning: str | None

    def number(self, key: str) -> float | None:
        """A single number of answer.json, or None where it has null or nothing."""
        return self.scalars.get(key)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Answer:
        """Raise ValueError where a list does not have one entry for each lithium content."""
        x = tuple(float(value) for value in data.get("x") or ())
        lists = {name: _per_content(data, key, len(x)) for name, key in _LISTS.items()}
        return cls(
            reference=_described(data.get("reference")) or "reference",
            potential=_described(data.get("potential")) or "potential",
            x=x,
            voltage_steps=_steps(data.get("voltage_steps")),
            reference_voltage_steps=_steps(data.get("reference_voltage_steps")),
            hull=_hull(data),
            scalars={key: _number(v) for key, v in data.items() if _is_number(v)},
            stopped_because=_described(data.get("stopped_because")),
            error_meaning=_described(data.get("error_meaning")),
            **lists,
        )


_LISTS = {
    "volume": "volume_A3_per_fu",
    "volume_err": "volume_err",
    "a": "a_A",
    "a_err": "a_err",
    "c": "c_A",
    "c_err": "c_err",
    "reference_volume": "reference_volume_A3_per_fu",
    "reference_a": "reference_a_A",
    "reference_c": "reference_c_A",
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _described(value: Any) -> str | None:
    """``"chgnet + d3bj"`` of that text or of ``{engine: chgnet, dispersion: d3bj}``."""
    if isinstance(value, Mapping):
        words = (value.get("engine"), value.get("dispersion"))
        return " + ".join(str(word) for word in words if word) or None
    return None if value is None else str(value)


def _per_content(data: Mapping[str, Any], key: str, n: int) -> tuple[Optional, ...]:
    values = data.get(key)
    if values is None:
        return (None,) * n
    if len(values) != n:
        raise ValueError(
            f"answer.{key}: expected {n} numbers, one for each of answer.x, got {len(values)}."
        )
    return tuple(_number(value) for value in values)


def _steps(steps: Sequence[Mapping[str, Any]] | None) -> tuple[VoltageStep, ...]:
    made = (
        VoltageStep(
            x_from=max(float(step["x_from"]), float(step["x_to"])),
            x_to=min(float(step["x_from"]), float(step["x_to"])),
            voltage_V=float(step["voltage_V"]),
            err=_number(step.get("err")),
        )
        for step in steps or ()
    )
    return tuple(sorted(made, key=lambda step: -step.x_from))


def _hull(data: Mapping[str, Any]) -> tuple[HullPoint, ...]:
    known = [*(data.get("hull") or ()), *_orderings(data.get("orderings"))]
    unique = {
        (float(point["x"]), float(point["energy_eV_per_fu"])): bool(point.get("on_hull"))
        for point in reversed(known)
    }
    return tuple(
        HullPoint(x=x, energy_eV_per_fu=energy, on_hull=on_hull)
        for (x, energy), on_hull in sorted(unique.items())
    )


def _orderings(orderings: Any) -> list[Mapping[str, Any]]:
    """Those orderings that say their energy; answer.json may list others by name only."""
    if not isinstance(orderings, Sequence) or isinstance(orderings, str):
        return []
    return [
        point
        for point in orderings
        if isinstance(point, Mapping)
        and _is_number(point.get("x"))
        and _is_number(point.get("energy_eV_per_fu"))
    ]
