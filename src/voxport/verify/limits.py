"""What rounding alone does to one stage and to the logits, by dtype; measured, and the margin over it stated.

Measured by ``benchmarks/rounding.py``: sides that are right and compute differently, whisper-tiny.en and MedASR with
random weights, real speech. The limits leave several times the largest value that was met.
"""

from __future__ import annotations

__all__ = ["LOGITS", "MARGIN", "PATH", "STAGE", "STATISTICS"]

STAGE: dict[str, float] = {"float32": 5e-6, "float16": 4e-3, "bfloat16": 3e-2}
"""Relative L2 of a stage's result on given inputs, by the candidate's dtype."""

LOGITS: dict[str, float] = {"float32": 2e-5, "float16": 2e-2, "bfloat16": 1e-1}
"""Relative L2 of the logits of one side against the other's in the same dtype."""

PATH: dict[str, float] = {"float32": 2e-5, "float16": 2e-2, "bfloat16": 1e-1}
"""Relative L2 of the logits of the fast path against the table's of the same model."""

STATISTICS: dict[str, float] = {"float32": 5e-6, "float16": 2.5e-3, "bfloat16": 5e-2}
"""Difference of a stage's mean or root mean square, as a share of the latter, with what was passed on; of two dtypes
the wider limit."""

MARGIN: dict[str, float] = {"float32": 0.02, "float16": 0.25, "bfloat16": 1.0}
"""Logits: the likeliest token may differ where the reference was less sure than this, by the candidate's dtype."""
