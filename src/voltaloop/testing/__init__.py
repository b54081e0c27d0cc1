"""Contract suites: a backend of any package inherits the suite of its kind and is tested by it.

Needs pytest. One suite per kind; see the class for what to write and what it checks.
"""

import pytest

# Asserts of the suites then show their values, as those in a test file do.
pytest.register_assert_rewrite(
    "voltaloop.testing.executors", "voltaloop.testing.references", "voltaloop.testing.stores"
)

from voltaloop.testing.executors import ExecutorContract  # noqa: E402 - after the line above
from voltaloop.testing.references import ReferenceContract  # noqa: E402
from voltaloop.testing.stores import EventLogContract  # noqa: E402

__all__ = ["EventLogContract", "ExecutorContract", "ReferenceContract"]
