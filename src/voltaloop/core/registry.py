"""Where backends are found by name: built-in ones by import path, others by entry point."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from voltaloop.core.errors import MissingDependencyError, UnknownBackendError, did_you_mean

T = TypeVar("T")


def import_object(path: str) -> Any:
    """The object at ``"package.module:name"``."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry(Generic[T]):
    """Backends of one kind. ``builtin`` maps a name to ``"package.module:object"``.

    Third parties add theirs with an entry point in the group ``voltaloop.<kind>s``.
    """

    kind: str
    builtin: Mapping[str, str]

    def paths(self) -> dict[str, str]:
        """Name → import path of every known backend; a built-in name cannot be overridden."""
        others = {e.name: e.value for e in entry_points(group=f"voltaloop.{self.kind}s")}
        return {**others, **self.builtin}

    def names(self) -> list[str]:
        return sorted(self.paths())

    def load(self, name: str) -> T:
        paths = self.paths()
        if name not in paths:
            raise UnknownBackendError(
                f"Unknown {self.kind} '{name}'.{did_you_mean(name, paths)} "
                f"Known: {', '.join(sorted(paths))}."
            )
        loaded: T = import_object(paths[name])
        return loaded


def require(module: str, *, extra: str) -> Any:
    """Import an optional package, or raise an error that prints the pip line."""
    try:
        return import_module(module)
    except ImportError as err:
        raise MissingDependencyError(
            f"'{module}' is not installed. Install it with: pip install 'voltaloop[{extra}]'"
        ) from err
