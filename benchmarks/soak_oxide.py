"""The reference of the soak: a magnetic oxide whose label takes as long as one is told."""

from time import sleep
from typing import Any

from magnetic_oxide import MagneticOxide


class SlowOxide(MagneticOxide):
    """``seconds``: how much longer a label of an oxide takes; lithium metal is relaxed in many
    steps, and does not wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def calculate(self, *arguments: Any, **more: Any) -> None:
        super().calculate(*arguments, **more)
        if "O" in self.atoms.symbols:
            sleep(self.seconds)
