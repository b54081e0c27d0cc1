"""From the folded state of a campaign to its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from voltaloop.campaigns.file import CampaignFile
from voltaloop.campaigns.state import CampaignState
from voltaloop.core import EV_PER_A3_IN_GPA, MEV
from voltaloop.thermo import (
    ReferenceOrdering,
    RelaxedOrdering,
    Trust,
    average_voltage,
    hull_voltages,
    length_err,
    lowest,
    lowest_reference,
    reference_voltages,
    volume_change,
    volume_err,
)

Json = dict[str, Any]

ERROR_MEANING = "half width of the calibrated 95 % interval"


def estimate(state: CampaignState, generation: int) -> Json:
    """What the answer would be with the committee of ``generation``; None where not known."""
    found = _relaxed_orderings(state, generation)
    ends = _ends(found)
    unknown: Json = {
        "volume_change_percent": None,
        "volume_change_err": None,
        "average_voltage_V": None,
        "average_voltage_err": None,
    }
    if ends is None:
        return unknown
    trust = _trusts(state, generation)
    change = volume_change(*ends, trust["stress"])
    values: Json = {"volume_change_percent": change.value, "volume_change_err": change.err}
    lithium = _lithium_energy(state)
    if lithium is not None:
        average = average_voltage(*ends, lithium, trust["energy"])
        values |= {"average_voltage_V": average.value, "average_voltage_err": average.err}
    return {**unknown, **values}


def build_answer(campaign: CampaignFile, state: CampaignState) -> Json:
    """The content of answer.json, without what only the clock knows."""
    generation = state.generation
    found = _relaxed_orderings(state, generation)
    best = lowest(found)
    own = _reference_orderings(state)
    own_lowest = lowest_reference(own)
    trust = _trusts(state, generation)
    lithium = _lithium_energy(state)
    energies = [o.energy for o in best]
    steps, on_hull = hull_voltages(best, lithium or 0.0, trust["energy"]) if best else ([], [])
    return {
        "campaign": campaign.name,
        "formula": state.facts["formula"],
        "reference": {"engine": campaign.reference.engine, **campaign.reference.options},
        "potential": {"engine": campaign.potential.engine, **campaign.potential.options},
        "error_meaning": ERROR_MEANING,
        "x": [o.x for o in best],
        "volume_A3_per_fu": [o.volume for o in best],
        "volume_err": [volume_err(o, trust["stress"]) for o in best],
        "a_A": [_number(o.a) for o in best],
        "a_err": [_number(length_err(o, "a", trust["stress"])) for o in best],
        "c_A": [_number(o.c) for o in best],
        "c_err": [_number(length_err(o, "c", trust["stress"])) for o in best],
        "energy_eV_per_fu": energies,
        "reference_volume_A3_per_fu": _of(best, own_lowest, "volume"),
        "reference_a_A": _of(best, own_lowest, "a"),
        "reference_c_A": _of(best, own_lowest, "c"),
        "reference_energy_eV_per_fu": _of(best, own_lowest, "energy"),
        "lithium_metal_eV_per_atom": lithium,
        "voltage_steps": []
        if lithium is None
        else [
            {"x_from": s.x_from, "x_to": s.x_to, "voltage_V": s.voltage, "err": s.err}
            for s in steps
        ],
        "reference_voltage_steps": _reference_steps(own_lowest, lithium),
        **_averages(best, own_lowest, trust, lithium),
        "hull": [
            {"x": o.x, "energy_eV_per_fu": o.energy, "on_hull": flag}
            for o, flag in zip(best, on_hull, strict=True)
        ],
        "orderings": [
            {"x": o.x, "ordering": o.ordering, "energy_eV_per_fu": o.energy} for o in found
        ],
        **_quality(state),
        "stopped_because": state.stopped,
    }


def _relaxed_orderings(state: CampaignState, generation: int) -> list[RelaxedOrdering]:
    units = state.facts["formula_units"]
    return [
        _relaxed_ordering(ordering, i, state.relaxed[generation, i], units)
        for i, ordering in enumerate(state.facts["orderings"])
        if "refused" not in state.relaxed[generation, i]
    ]


def _relaxed_ordering(
    ordering: Mapping[str, Any], index: int, result: Mapping[str, Any], units: int
) -> RelaxedOrdering:
    members = result["members"]

    def of_members(key: str, share: float) -> Any:
        return np.array([_float(member[key]) / share for member in members])

    return RelaxedOrdering(
        x=ordering["x"],
        ordering=index,
        energy=result["energy"] / units,
        volume=result["volume"] / units,
        a=_float(result["a"]),
        c=_float(result["c"]),
        member_energies=of_members("energy", units),
        member_volumes=of_members("volume", units),
        member_a=of_members("a", 1),
        member_c=of_members("c", 1),
        compressibility=result["compressibility"] / units,
        atoms_per_fu=ordering["n_atoms"] / units,
    )


def _reference_orderings(state: CampaignState) -> list[ReferenceOrdering]:
    units = state.facts["formula_units"]
    return [
        ReferenceOrdering(
            x=state.facts["orderings"][i]["x"],
            ordering=i,
            energy=result["energy"] / units,
            volume=result["volume"] / units,
            a=_float(result["a"]),
            c=_float(result["c"]),
        )
        for i, result in sorted(state.reference_relaxed.items())
        if "refused" not in result and result["converged"]
    ]


def _ends(found: list[RelaxedOrdering]) -> tuple[RelaxedOrdering, RelaxedOrdering] | None:
    """The contents with most and with least lithium, if they differ."""
    best = lowest(found)
    return (best[0], best[-1]) if len(best) >= 2 else None


def _trusts(state: CampaignState, generation: int) -> dict[str, Trust]:
    calibrations = state.trainings[generation]["calibrations"]
    return {name: Trust(**calibrations[name]) for name in ("energy", "stress")}


def _lithium_energy(state: CampaignState) -> float | None:
    known = state.lithium is not None and "energy" in state.lithium
    return float(state.lithium["energy"]) if known and state.lithium else None


def _averages(
    best: list[RelaxedOrdering],
    own: Mapping[float, ReferenceOrdering],
    trust: Mapping[str, Trust],
    lithium: float | None,
) -> Json:
    values: Json = dict.fromkeys(
        (
            "average_voltage_V",
            "average_voltage_err",
            "reference_average_voltage_V",
            "volume_change_percent",
            "volume_change_err",
            "reference_volume_change_percent",
        )
    )
    if len(best) < 2:
        return values
    full, empty = best[0], best[-1]
    change = volume_change(full, empty, trust["stress"])
    values |= {"volume_change_percent": change.value, "volume_change_err": change.err}
    if lithium is not None:
        average = average_voltage(full, empty, lithium, trust["energy"])
        values |= {"average_voltage_V": average.value, "average_voltage_err": average.err}
    if full.x in own and empty.x in own:
        high, low = own[full.x], own[empty.x]
        values["reference_volume_change_percent"] = 100 * (low.volume / high.volume - 1)
        if lithium is not None:
            width = high.x - low.x
            values["reference_average_voltage_V"] = (
                -(high.energy - low.energy - width * lithium) / width
            )
    return values


def _reference_steps(
    own: Mapping[float, ReferenceOrdering], lithium: float | None
) -> list[Json] | None:
    if lithium is None or len(own) < 2:
        return None
    return [
        {"x_from": s.x_from, "x_to": s.x_to, "voltage_V": s.voltage}
        for s in reference_voltages(list(own.values()), lithium)
    ]


def _quality(state: CampaignState) -> Json:
    score = state.score or {}
    coverage = score.get("coverage", {})
    stress = score.get("stress_rmse")
    return {
        "labels": len(state.labels),
        "labels_start": sum(one.origin == "start" for one in state.labels),
        "labels_relaxed": sum(one.origin == "relaxed" for one in state.labels),
        "labels_random": sum(one.origin == "random" for one in state.labels),
        "labels_audit": len(state.audit),
        "labels_refused": len(state.cases.quarantine),
        "audit_outcomes": [run.result["outcome"] for run in state.audit_runs],
        "heldout_energy_rmse_meV_per_atom": score["energy_rmse"] * MEV,
        "heldout_force_rmse_eV_per_A": score["force_rmse"],
        "heldout_stress_rmse_GPa": None if stress is None else stress * EV_PER_A3_IN_GPA,
        "coverage95_energy": coverage["energy"],
        "coverage95_force": coverage["force"],
        "coverage95_energy_raw": coverage["energy_raw"],
        "coverage95_force_raw": coverage["force_raw"],
    }


def _of(
    best: list[RelaxedOrdering], own: Mapping[float, ReferenceOrdering], name: str
) -> list[float | None]:
    return [_number(getattr(own[o.x], name)) if o.x in own else None for o in best]


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
