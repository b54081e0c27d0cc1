"""Any ASE calculator, named by its import path."""

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from json import loads
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from voltaloop.core import (
    CampaignFileError,
    Frame,
    Label,
    MissingDependencyError,
    Rung,
    canonical_json,
    did_you_mean,
)
from voltaloop.references.dispersion import DispersionSettings, check_dispersion, with_dispersion
from voltaloop.references.labelling import label_from_calculator


class AseSettings(DispersionSettings):
    """Options of the reference ``ase``."""

    calculator: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="Import path of the calculator, 'package.module:Class', for example "
        "'ase.calculators.emt:EMT' or 'mace.calculators:mace_mp' (a function that returns one).",
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Keyword arguments of the calculator, in the units its own manual gives.",
    )
    dispersion: Literal["d3bj"] | None = Field(
        default=None,
        description="Dispersion added to the calculator: d3bj, or none (the default, because the "
        "calculator may hold its own).",
    )
    dispersion_functional: str = Field(
        default="PBE", description="Functional whose D3(BJ) parameters are taken."
    )


@dataclass(frozen=True, slots=True)
class AseCalculator:
    """An ASE calculator as a reference; stress and moments where the calculator offers them.

    One calculator is kept per process, because loading a network may take seconds.
    """

    Settings: ClassVar[type[AseSettings]] = AseSettings
    # What helps an engine that is only known by its import path, the campaign file has to say.
    LADDER: ClassVar[tuple[Rung, ...]] = ()

    settings: AseSettings

    def check_installed(self) -> None:
        """Raises MissingDependencyError when the module is not there, CampaignFileError when the
        module has no such calculator."""
        _calculator_class(self.settings.calculator)
        check_dispersion(self.settings, extra="chgnet")

    def executes(self) -> list[str]:
        """The call that builds the calculator: any function of any installed module can be named,
        and the parameters may hold commands it runs."""
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings.parameters.items())
        return [f"{self.settings.calculator}({given})"]

    def label(self, frame: Frame) -> Label:
        calculator = _calculator(self.settings.calculator, canonical_json(self.settings.parameters))
        label = label_from_calculator(calculator, frame)
        return with_dispersion(
            replace(label, details={"calculator": self.settings.calculator}),
            frame,
            self.settings,
            functional=self.settings.dispersion_functional,
            extra="chgnet",
        )


@lru_cache(maxsize=4)
def _calculator(path: str, parameters: str) -> Any:
    return _calculator_class(path)(**loads(parameters))


def _calculator_class(path: str) -> Any:
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as err:
        raise MissingDependencyError(
            f"Cannot import the calculator '{path}': {err}. Expected 'package.module:Class', for "
            f"example 'ase.calculators.emt:EMT'. Mend the path, or install its package with: "
            f"pip install {module_name.partition('.')[0]}"
        ) from err
    if not hasattr(module, name):
        raise CampaignFileError(
            f"Module '{module_name}' has no calculator '{name}'.{did_you_mean(name, dir(module))} "
            f"Expected 'package.module:Class', for example 'ase.calculators.emt:EMT'."
        )
    return getattr(module, name)
