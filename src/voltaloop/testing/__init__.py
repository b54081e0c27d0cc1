"""What backends are tested with: contract suites, and a reference that fails on purpose.

A backend of any package inherits the suite of its kind and is tested by it; see the class for what
to write and what it checks. The suites need pytest, :mod:`voltaloop.testing.faults` does not.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voltaloop.testing.executors import ExecutorContract
    from voltaloop.testing.faults import (
        EXPECTED,
        KINDS,
        Fault,
        Faulty,
        FaultySettings,
        Try,
        planned_fault,
        tries,
    )
    from voltaloop.testing.potentials import (
        MODEL_SPECIES,
        DictMemo,
        ForgetfulMemo,
        PotentialContract,
        model_crystal,
        model_examples,
        model_frames,
        model_label,
    )
    from voltaloop.testing.references import ReferenceContract
    from voltaloop.testing.stores import EventLogContract

__all__ = [
    "EXPECTED",
    "KINDS",
    "MODEL_SPECIES",
    "DictMemo",
    "EventLogContract",
    "ExecutorContract",
    "Fault",
    "Faulty",
    "FaultySettings",
    "ForgetfulMemo",
    "PotentialContract",
    "ReferenceContract",
    "Try",
    "model_crystal",
    "model_examples",
    "model_frames",
    "model_label",
    "planned_fault",
    "tries",
]

_FAULTS = {"EXPECTED", "KINDS", "Fault", "Faulty", "FaultySettings", "Try"}
_HOMES = {
    **dict.fromkeys([*_FAULTS, "planned_fault", "tries"], "faults"),
    "EventLogContract": "stores",
    "ExecutorContract": "executors",
    "ReferenceContract": "references",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: a campaign with faults needs no pytest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}.{_HOMES.get(name, 'potentials')}"
    if _HOMES.get(name) != "faults" and module not in sys.modules:
        import pytest

        # Asserts of the suites then show their values, as those in a test file do.
        pytest.register_assert_rewrite(module)
    return getattr(import_module(module), name)
