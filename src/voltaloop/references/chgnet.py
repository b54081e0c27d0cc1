"""CHGNet with D3 dispersion: the embedded reference, a stand-in for PBE+U.

CHGNet: https://doi.org/10.1038/s42256-023-00716-3.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pydantic import Field

from voltaloop.core import Frame, Label, Rung, require
from voltaloop.core.chgnet import load_network, network_label
from voltaloop.references.dispersion import DispersionSettings, check_dispersion, with_dispersion
from voltaloop.references.labelling import check_packages

_FUNCTIONAL = {"0.3.0": "PBE", "r2scan": "r2scan"}


class CHGNetSettings(DispersionSettings):
    """Options of the reference ``chgnet``."""

    model: Literal["0.3.0", "r2scan"] = Field(
        default="0.3.0",
        description="Weights: 0.3.0 was trained on PBE(+U), r2scan on r2SCAN energies. D3 takes "
        "the parameters of the same functional.",
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="Threads of torch in this process. One per worker is fastest for many frames.",
    )


@dataclass(frozen=True, slots=True)
class CHGNet:
    """CHGNet 0.4.2 as a reference: energy, forces, stress and magnetic moments.

    The moments are magnitudes (CHGNet gives no sign). The arithmetic is in single precision.
    """

    Settings: ClassVar[type[CHGNetSettings]] = CHGNetSettings
    # A network has no iterations that might not converge: what it says once it says again.
    LADDER: ClassVar[tuple[Rung, ...]] = ()

    settings: CHGNetSettings

    def check_installed(self) -> None:
        check_packages(["torch", "chgnet"], extra="chgnet")
        check_dispersion(self.settings, extra="chgnet")

    def executes(self) -> list[str]:
        """Nothing: the settings name no code."""
        return []

    def label(self, frame: Frame) -> Label:
        """Raises ValueError for a frame with an atom that has no neighbour within 6 Å."""
        model = _load_model(self.settings.model)
        require("torch", extra="chgnet").set_num_threads(self.settings.threads)
        return with_dispersion(
            network_label(model, frame),
            frame,
            self.settings,
            functional=_FUNCTIONAL[self.settings.model],
            extra="chgnet",
        )


@lru_cache(maxsize=2)
def _load_model(name: str) -> Any:
    """The network, loaded once in a process."""
    return load_network(name).eval().requires_grad_(False)
