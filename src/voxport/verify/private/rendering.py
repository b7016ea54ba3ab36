"""A private comparison as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxport.verify.rendering import check_table, number, sides_table, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.verify.policies import Verdict
    from voxport.verify.private.comparing import PrivateOutcome

__all__ = ["render_private"]

WORST = 6
"""Stages shown without ``--stages``."""


def render_private(outcome: PrivateOutcome, verdict: Verdict, *, all_stages: bool = False) -> Iterator[str]:
    """Lines."""
    yield from check_table(outcome, verdict)
    yield ""
    yield from sides_table(outcome)
    yield ""
    windows = outcome.windows
    same = sum(window.same_tokens for window in windows)
    files = len({window.file for window in windows})
    yield f"tokens: the same in {same} of {len(windows)} windows of {files} recordings"
    differences = outcome.worst_stages()
    if not differences:
        return
    names = list(differences) if all_stages else sorted(differences, key=lambda name: -differences[name])[:WORST]
    yield ""
    yield f"difference of mean or rms, as a share of the rms, {'all' if all_stages else f'the {WORST} worst'} stages:"
    yield from table([[f"  {name}", number(differences[name])] for name in names], "")
