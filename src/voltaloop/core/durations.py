"""Durations as people write them: 90s, 10m, 2h, 1d."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def parse_duration(value: Any) -> float:
    """Seconds of ``"10m"``; a bare number is refused because it does not say its unit."""
    match = _PATTERN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"expected a number with a unit s, m, h or d such as 90s, 10m, 2h or 1d, got {value!r}"
        )
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds <= 0:
        raise ValueError(f"expected a duration above zero, got {value!r}")
    return seconds


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str)]
