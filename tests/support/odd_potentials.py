"""Potentials that end in other ways than with a committee, and how they are made known."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from voltaloop.core import MissingDependencyError

NAMES = ("absent", "dying", "refusing", "sleepy")


def make_known(folder: Path) -> None:
    """A package in ``folder`` whose entry points register them, for a PYTHONPATH that has it."""
    package = folder / "odd_potentials-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-potentials\nVersion: 1.0\n")
    points = [f"{name} = odd_potentials:{name.title()}" for name in NAMES]
    (package / "entry_points.txt").write_text("\n".join(["[voltaloop.potentials]", *points]) + "\n")


class OddSettings(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Refusing:
    """Cannot be fitted."""

    Settings: ClassVar[type[BaseModel]] = OddSettings
    NOTICE: ClassVar[str] = "Odd potentials are for tests only."

    def __init__(self, settings: OddSettings) -> None:
        self.settings = settings

    def check_installed(self) -> None:
        """Nothing is needed."""

    def executes(self) -> list[str]:
        return []

    def train(self, *_: Any, **__: Any) -> Any:
        raise ValueError("these frames are not to its taste")

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
        raise NotImplementedError


class Dying(Refusing):
    """Takes its process with it."""

    def train(self, *_: Any, **__: Any) -> Any:
        os._exit(7)


class Absent(Refusing):
    """Is not there."""

    def check_installed(self) -> None:
        raise MissingDependencyError(
            "'absent' is not installed. Install it with: pip install absent"
        )


class Sleepy(Refusing):
    """Never gets done."""

    def train(self, *_: Any, **__: Any) -> Any:
        import time

        time.sleep(600)
