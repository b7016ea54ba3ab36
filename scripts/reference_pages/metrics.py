"""metrics.md: the definitions of `voxport.metrics`, and its constants by dtype."""

from __future__ import annotations

from reference_pages.markup import generated, table
from voxport.metrics import CANN, DEFINITIONS, EPSILON, SMALL, SMALL_VALUES

INTRODUCTION = f"""\
# Metrics

{generated("voxport/metrics.py")}

What `voxport verify` measures, under the names in its JSON object, in a [policy's](policies.md) limits and in a report.
r is the reference's value, c the candidate's, d = c - r; sums and means run over all elements unless said otherwise.
Elements are float32, and so are sums over pieces of 32,768 of them; the sums over pieces are float64. Elements that are
not finite on either side are counted and left out of everything else.

How to choose among them, and what each is blind to: [Verify](../guides/verify.md).
"""

CONSTANTS = f"""\
A divisor that can be 0 gets {EPSILON:g} added. Reference values of at most {SMALL:g} have no relative error in
`mean_relative` and `max_relative`."""

SOURCES = """\
The small value is msprobe's: below it `over_hundredth` and its kin take an element's relative error of it. rtol, atol
and floor are those of CANN's operator standard, 2026."""


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            INTRODUCTION,
            *table(("metric", "definition"), ((f"`{name}`", text) for name, text in DEFINITIONS.items())),
            "",
            "## Constants",
            "",
            CONSTANTS,
            "",
            *table(
                ("dtype of the candidate", "small value", "CANN: rtol", "CANN: atol", "CANN: floor"),
                (
                    (dtype, _power(SMALL_VALUES[dtype]), _power(rtol), _power(atol), f"{floor:g}")
                    for dtype, (rtol, atol, floor) in CANN.items()
                ),
            ),
            "",
            SOURCES,
            "",
        ]
    )


def _power(value: float) -> str:
    """As a power of two, which all of them are."""
    exponent = round(value).bit_length() - 1 if value >= 1 else -(round(1 / value).bit_length() - 1)
    if 2.0**exponent != value:
        raise ValueError(f"{value!r} is no power of two")
    return f"2^{exponent}"
