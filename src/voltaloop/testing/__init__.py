"""Contract suites: a backend of any package inherits the suite of its kind and is tested by it.

Needs pytest. One suite per kind; see the class for what to write and what it checks.
"""

import pytest

# Asserts of the suites then show their values, as those in a test file do.
pytest.register_assert_rewrite(
    "voltaloop.testing.executors",
    "voltaloop.testing.potentials",
    "voltaloop.testing.references",
    "voltaloop.testing.stores",
)

from voltaloop.testing.executors import ExecutorContract  # noqa: E402 - after the line above
from voltaloop.testing.potentials import (  # noqa: E402
    MODEL_SPECIES,
    DictMemo,
    ForgetfulMemo,
    PotentialContract,
    model_crystal,
    model_examples,
    model_frames,
    model_label,
)
from voltaloop.testing.references import ReferenceContract  # noqa: E402
from voltaloop.testing.stores import EventLogContract  # noqa: E402

__all__ = [
    "MODEL_SPECIES",
    "DictMemo",
    "EventLogContract",
    "ExecutorContract",
    "ForgetfulMemo",
    "PotentialContract",
    "ReferenceContract",
    "model_crystal",
    "model_examples",
    "model_frames",
    "model_label",
]
