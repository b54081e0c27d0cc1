from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from voltaloop.core import (
    MissingDependencyError,
    Registry,
    UnknownBackendError,
    import_object,
    registry,
    require,
)

SHELF: Registry[Any] = Registry(
    kind="shelf", builtin={"ordered": "collections:OrderedDict", "counter": "collections:Counter"}
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points of packages of third parties; append to it."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(
        registry, "entry_points", lambda group: EntryPoints(found).select(group=group)
    )
    return found


def test_a_backend_is_loaded_by_its_name() -> None:
    assert SHELF.load("counter").__name__ == "Counter"
    assert SHELF.names() == ["counter", "ordered"]


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known_ones() -> None:
    with pytest.raises(UnknownBackendError) as caught:
        SHELF.load("orderd")
    assert str(caught.value) == (
        "Unknown shelf 'orderd'. Did you mean 'ordered'? Known: counter, ordered."
    )


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownBackendError, match=r"^Unknown shelf 'x'\. Known: counter"):
        SHELF.load("x")


def test_a_package_adds_a_backend_by_entry_point(installed: list[EntryPoint]) -> None:
    installed.append(
        EntryPoint(name="chain", value="collections:ChainMap", group="voltaloop.shelfs")
    )
    installed.append(
        EntryPoint(name="other", value="collections:deque", group="voltaloop.something")
    )
    assert SHELF.names() == ["chain", "counter", "ordered"]
    assert SHELF.load("chain").__name__ == "ChainMap"


def test_a_built_in_backend_cannot_be_overridden(installed: list[EntryPoint]) -> None:
    installed.append(
        EntryPoint(name="counter", value="collections:deque", group="voltaloop.shelfs")
    )
    assert SHELF.load("counter").__name__ == "Counter"


def test_an_object_is_imported_by_its_path() -> None:
    assert import_object("math:pi") == pytest.approx(3.14159265)
    with pytest.raises(ModuleNotFoundError):
        import_object("no_such_module_at_all:thing")


def test_an_optional_package_that_is_there_is_returned() -> None:
    assert require("json", extra="pod").__name__ == "json"


def test_an_optional_package_that_is_missing_names_its_pip_line() -> None:
    with pytest.raises(MissingDependencyError) as caught:
        require("no_such_package_at_all", extra="chgnet")
    assert str(caught.value) == (
        "'no_such_package_at_all' is not installed. "
        "Install it with: pip install 'voltaloop[chgnet]'"
    )
    assert isinstance(caught.value.__cause__, ImportError)
