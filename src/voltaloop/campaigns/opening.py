"""What a campaign starts from: orderings and first frames, made once and kept as artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from voltaloop.campaigns.file import CampaignFile
from voltaloop.core import CampaignFileError, Frame
from voltaloop.crystals import (
    Ordering,
    formula_units,
    lithium_metal,
    load_structure,
    orderings,
    starting_frames,
    supercell,
)
from voltaloop.store import ArtifactStore

Json = dict[str, Any]


def make_orderings(campaign: CampaignFile, base: Path) -> tuple[Frame, list[Ordering]]:
    """The lithiated supercell and the orderings of every content, by falling content.

    Raises StructureError where the structure or a content cannot be used, CampaignFileError where
    two contents are one.
    """
    material = campaign.material
    full = supercell(load_structure(material.structure, base=base), material.supercell)
    by_content = {
        x: orderings(full, x, limit=material.orderings, seed=campaign.seed)
        for x in material.lithium
    }
    _refuse_same_contents({x: found[0].x for x, found in by_content.items()})
    return full, [ordering for found in by_content.values() for ordering in found]


def _refuse_same_contents(reached: Mapping[float, float]) -> None:
    """Contents of the file that round to the same number of lithium atoms."""
    for (one, x), (other, y) in combinations(reached.items(), 2):
        if x == y:
            raise CampaignFileError(
                f"material.lithium: {one:g} and {other:g} are the same content in this supercell, "
                f"x = {x:.4g}. Leave one out, or choose a larger supercell."
            )


def check_starting(campaign: CampaignFile, found: list[Ordering]) -> None:
    """Raise StructureError where starting frames cannot be made with the wanted rattle, strain."""
    _starting(campaign, found)


def opening_facts(campaign: CampaignFile, base: Path, store: ArtifactStore) -> Json:
    """The data of the event ``opened``."""
    full, found = make_orderings(campaign, base)
    units = formula_units(full)
    return {
        "formula": full.to_atoms().get_chemical_formula("metal", empirical=True),
        "formula_units": units,
        "n_atoms": len(full),
        "species": [chemical_symbols[z] for z in sorted({int(z) for z in full.numbers})],
        "lithium_metal": store.put_json(lithium_metal().to_json()),
        "orderings": [
            {
                "x": ordering.x,
                "multiplicity": ordering.multiplicity,
                "n_atoms": len(ordering.frame),
                "frame": store.put_json(ordering.frame.to_json()),
            }
            for ordering in found
        ],
        "starting": [
            {"x": ordering.x, "frame": store.put_json(frame.to_json())}
            for ordering, frame in _starting(campaign, found)
        ],
    }


def _starting(campaign: CampaignFile, found: list[Ordering]) -> list[tuple[Ordering, Frame]]:
    """Starting frames: contents share them evenly, and so do the orderings of a content."""
    wanted = campaign.material.starting
    contents = sorted({ordering.x for ordering in found}, reverse=True)
    turns: dict[int, int] = {}
    for k in range(wanted.frames):
        own = [i for i, o in enumerate(found) if o.x == contents[k % len(contents)]]
        chosen = own[(k // len(contents)) % len(own)]
        turns[chosen] = turns.get(chosen, 0) + 1
    return [
        (found[i], frame)
        for i, count in sorted(turns.items())
        for frame in starting_frames(
            found[i].frame,
            count=count,
            rattle=wanted.rattle_A,
            strain=wanted.strain,
            seed=campaign.seed * 1000 + i,
        )
    ]
