import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from postgresql import PostgresqlServer, programs, running_server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """One for each test process, started when the first test asks for it."""
    if programs() is None:
        pytest.skip("PostgreSQL's server is not installed (on Debian: apt install postgresql)")
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (pip install 'voltaloop[postgresql]')")
    with running_server() as server:
        yield server
