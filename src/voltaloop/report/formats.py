"""Numbers as people read them: rounded to what is known, with a true minus sign."""

from __future__ import annotations

import math
import re

MISSING = "–"
_MINUS = "\u2212"
_NBSP = "\u00a0"
_SUBSCRIPTS = str.maketrans("0123456789.", "₀₁₂₃₄₅₆₇₈₉.")


def fixed(value: float | None, digits: int = 2) -> str:
    """``−7.12``; a dash for None and for what is not finite."""
    if value is None or not math.isfinite(value):
        return MISSING
    rounded = round(value, digits) + 0.0
    return f"{rounded:,.{digits}f}".replace("-", _MINUS).replace(",", "\u202f")


def signed(value: float | None, digits: int = 2) -> str:
    """As :func:`fixed`, with a plus sign where positive."""
    text = fixed(value, digits)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 else text


def significant(value: float | None, digits: int = 3) -> str:
    """Three significant digits without exponent: ``0.109``, ``12.4``, ``1 240``."""
    if value is None or not math.isfinite(value):
        return MISSING
    return fixed(value, _decimals(value, digits))


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return digits - 1
    return min(9, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def with_error(value: float | None, err: float | None, digits: int = 2) -> str:
    """``−7.12 ± 0.24``, ``33.14 ± 0.06``: the value to the last place of the error.

    The error has two significant digits up to 35, else one (the rule of the Particle Data Group,
    doi:10.1103/PhysRevD.110.030001). Without an error the value has ``digits`` decimals.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if err is None or not math.isfinite(err) or err <= 0:
        return fixed(value, digits)
    places = min(_error_decimals(err), digits + 1)
    small = err < 0.5 * 10.0**-places
    shown = f"<{fixed(10.0**-places, places)}" if small else fixed(err, places)
    return f"{fixed(value, places)}{_NBSP}±{_NBSP}{shown}"


def _error_decimals(err: float) -> int:
    two = _decimals(err, 2)
    return two if round(err * 10.0**two) <= 35 else max(0, two - 1)


def percent(fraction: float | None, digits: int = 0) -> str:
    """``94 %`` of 0.94."""
    return MISSING if fraction is None else f"{fixed(100 * fraction, digits)}{_NBSP}%"


def unit(text: str, name: str) -> str:
    """The number with its unit, or the bare dash where there is no number."""
    return text if text == MISSING else f"{text}{_NBSP}{name}"


def duration(seconds: float | None) -> str:
    """``2.4 s``, ``3 min 12 s``, ``1 h 04 min``, ``2 d 03 h``."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f}{_NBSP}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{_NBSP}min{_NBSP}{whole % 60:02d}{_NBSP}s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60}{_NBSP}h{_NBSP}{minutes % 60:02d}{_NBSP}min"
    hours = round(seconds / 3600)
    return f"{hours // 24}{_NBSP}d{_NBSP}{hours % 24:02d}{_NBSP}h"


def content(x: float) -> str:
    """A lithium content: ``0.25``, ``0.083``, ``1``."""
    return f"{x:.3f}".rstrip("0").rstrip(".")


def plural(n: int, singular: str, many: str | None = None) -> str:
    """``1 label``, ``12 labels``."""
    return f"{n} {singular if n == 1 else many or singular + 's'}"


def subscripted(formula: str) -> str:
    """``LiNiO₂`` of ``LiNiO2``."""
    return re.sub(r"(?<=[A-Za-z)])\d+(\.\d+)?", lambda m: m.group().translate(_SUBSCRIPTS), formula)


def with_content_x(formula: str) -> str:
    """``LiₓNiO₂`` of ``LiNiO2``; a formula that has no lithium stays as it is."""
    return re.sub(r"Li(?![a-z])[\d.₀-₉]*", "Liₓ", subscripted(formula), count=1)
