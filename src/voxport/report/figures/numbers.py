"""Numbers as they stand at an axis."""

from __future__ import annotations

import math

__all__ = ["log_ticks", "power", "short"]

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power(exponent: int) -> str:
    """10⁻³; 0.1, 1, 10, 100 as they are."""
    return f"{10.0**exponent:g}" if -1 <= exponent <= 2 else f"10{str(exponent).translate(_RAISED)}"


def short(value: float, digits: int = 3) -> str:
    """`digits` significant digits, without an exponent where that can be read: 1,230 and 0.000123."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if not -3 <= places <= digits + 3:
        exponent = math.floor(math.log10(abs(value)))
        return f"{value / 10.0**exponent:.{digits - 1}f} × 10{str(exponent).translate(_RAISED)}"
    return f"{round(value, places):,.{max(0, places)}f}"


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """From `low` to `high`: 1, 2 and 5 times the powers of ten where they fit, else powers of ten."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        inside = [tick for tick in found if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) <= most:
            return inside
    return inside[:: math.ceil(len(inside) / most)]
