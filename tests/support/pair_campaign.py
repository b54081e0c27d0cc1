"""A real campaign that takes half a minute: pair terms instead of quantum mechanics, and everything
else as users run it. Importable where this folder is on the path."""

from collections.abc import Mapping
from typing import Any


def campaign(name: str, **sections: Any) -> dict[str, Any]:
    """The campaign file as data.

    ``sections`` are merged into it; one that names its engine, or is no mapping, takes the place
    of what is there.
    """
    data: dict[str, Any] = {
        "name": name,
        "material": {
            "structure": "LiNiO2",
            "supercell": [2, 2, 1],
            "lithium": [1.0, 0.5, 0.0],
            "orderings": 1,
            "starting": {"frames": 12},
        },
        "reference": {"engine": "ase", "calculator": "pair_oxide:PairOxide"},
        "potential": {
            "engine": "pod",
            "members": 4,
            "basis": {
                "rcut": 4.5,
                "twobody": 5,
                "threebody": 2,
                "threebody_degree": 2,
                "fourbody": 0,
                "fourbody_degree": 0,
            },
        },
        "explore": {"temperature": [200, 400], "steps": 200, "sample_every": 20},
        "select": {"batch": 4},
        "audit": {"labels": 6},
        "stop": {
            "labels": 20,
            "volume_change_percent": None,
            "voltage_V": None,
            "wall_time": "5m",
        },
    }
    for key, section in sections.items():
        merged = isinstance(section, Mapping) and "engine" not in section
        data[key] = {**data.get(key, {}), **section} if merged else section
    return data
