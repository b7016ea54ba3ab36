"""Machines that may not show each other what was said compare statistics.

- `trace`: the file. `comparing`: a candidate held against it, and the verdict. `rendering`: as text.
"""

from voxport.verify.private.comparing import (
    PrivateOutcome,
    PrivateStage,
    PrivateWindow,
    compare_private,
    judge_private,
)
from voxport.verify.private.rendering import render_private
from voxport.verify.private.trace import PrivateTrace, Statistics, is_private, save_private

__all__ = [
    "PrivateOutcome",
    "PrivateStage",
    "PrivateTrace",
    "PrivateWindow",
    "Statistics",
    "compare_private",
    "is_private",
    "judge_private",
    "render_private",
    "save_private",
]
