"""policies.md: what `voxport verify` and `voxport report` may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_pages.markup import generated, table
from voxport.verify import limits
from voxport.verify.policies import POLICIES, PRIVATE_ASKS, PRIVATE_CANNOT_SHOW

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = f"""\
# Policies

{generated("voxport/verify/policies.py and limits.py")}

What counts as the same: `voxport verify --policy NAME`, `voxport report --policy NAME`. `words` is the default.
Whatever the policy, no window may give nothing and no value may be not finite. [Metrics](metrics.md) are defined on a
page of their own; the file of a policy of one's own is in [Verify](../guides/verify.md#policies).
"""

LIMITS = """\
## Limits by dtype

The limits of `words`, `exact` and of private traces follow the candidate's dtype. They leave several times the largest
value that rounding alone was met with (`python benchmarks/rounding.py`).
"""


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for policy in POLICIES.values():
        lines += [f"## `{policy.name}`", "", f"Asks: {policy.asks}.", "", f"Cannot show: {policy.cannot_show}.", ""]
        needs = [*_needs(same_dtype=policy.same_dtype, stages=policy.stages)]
        lines += [f"Needs {' and '.join(needs)}.", ""] if needs else []
    lines += [
        "## Against a private trace",
        "",
        f"Asks: {PRIVATE_ASKS}.",
        "",
        f"Cannot show: {PRIVATE_CANNOT_SHOW}.",
        "",
    ]
    lines += [LIMITS, *table(("", *limits.STAGE), _limits()), ""]
    return "\n".join(lines)


def _needs(*, same_dtype: bool, stages: bool) -> Iterator[str]:
    if same_dtype:
        yield "two sides of one dtype"
    if stages:
        yield "stages (`--look_at` of 1 or more)"


def _limits() -> Iterator[tuple[str, ...]]:
    for name, values in (
        ("a stage on given inputs, relative L2", limits.STAGE),
        ("logits, relative L2", limits.LOGITS),
        ("fast path against the table of stages, relative L2", limits.PATH),
        ("margin where the likeliest token differs, logits", limits.MARGIN),
        ("private trace: mean and root mean square, share of the latter", limits.STATISTICS),
    ):
        yield name, *(f"{values[dtype]:g}" for dtype in limits.STAGE)
