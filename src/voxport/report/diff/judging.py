"""Better, same or worse: stated rules, each with the reasons that it found.

Worse: the verdict of one policy went from pass to fail; one of its checks did; a window gives nothing any more, or its
words changed to be further from the reference; the candidate is slower beyond the noise, model only or end to end; an
error rate is higher beyond what drawing other clips would do, or clips fail that did not. Better: the same the other
way round, and nothing is worse. Metrics, stages, memory and cold starts are shown and judge nothing: what they may be
is the policy's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from voxport.report.content import Statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.report.diff.accuracy import Accuracy
    from voxport.report.diff.error_rates import ErrorRates
    from voxport.report.diff.speed import Speed

__all__ = ["Judgement", "judge"]

Word = Literal["better", "same", "worse"]
Found = tuple[Literal["better", "worse"], Statement]


@dataclass(frozen=True)
class Judgement:
    """Attributes:
    worse, better: reasons.
    """

    worse: tuple[Statement, ...]
    better: tuple[Statement, ...]

    @property
    def word(self) -> Word:
        """What is worse isn't made up for by anything."""
        return "worse" if self.worse else "better" if self.better else "same"


def judge(accuracy: Accuracy, speed: Speed, rates: ErrorRates) -> Judgement:
    """By the rules above."""
    found = [*_verdict(accuracy), *_windows(accuracy), *_speed(speed), *_rates(rates)]
    return Judgement(
        tuple(reason for kind, reason in found if kind == "worse"),
        tuple(reason for kind, reason in found if kind == "better"),
    )


def _verdict(accuracy: Accuracy) -> Iterator[Found]:
    if not accuracy.same_policy:
        return
    before, now = accuracy.passes
    if before != now:
        yield (
            "better" if now else "worse",
            Statement("passes_now" if now else "fails_now", {"policy": accuracy.policies[1]}),
        )
    for check in accuracy.checks:
        values = {"check": check.name, "first": check.first, "second": check.second, "limit": check.limit}
        yield "better" if check.ok else "worse", Statement("check_ok_now" if check.ok else "check_fails_now", values)


def _windows(accuracy: Accuracy) -> Iterator[Found]:
    for window in accuracy.windows:
        where = {"file": window.file, "start": window.start}
        before, now = window.failures
        if (before is None) != (now is None):
            key, failure = ("window_fails_now", now) if now is not None else ("window_works_now", before)
            yield "better" if now is None else "worse", Statement(key, {**where, "failure": failure})
        elif window.edits[0] != window.edits[1]:
            further = window.edits[1] > window.edits[0]
            values = {**where, "first": window.edits[0], "second": window.edits[1], "length": window.length}
            yield "worse" if further else "better", Statement("words_further" if further else "words_nearer", values)


def _speed(speed: Speed) -> Iterator[Found]:
    for metric in speed.judged():
        if metric.verdict in ("slower", "faster"):
            values = {"what": metric.title, "ratio": metric.ratio, "low": metric.low, "high": metric.high}
            yield "worse" if metric.verdict == "slower" else "better", Statement(metric.verdict, values)


def _rates(rates: ErrorRates) -> Iterator[Found]:
    for row in rates.rows:
        if row.difference is not None and (row.higher or row.lower):
            interval = {"low": row.difference.low, "high": row.difference.high}
            values = {"unit": row.unit, "first": row.first, "second": row.second, **interval}
            yield "worse" if row.higher else "better", Statement("rate_higher" if row.higher else "rate_lower", values)
    before, now = rates.failed
    if before != now:
        more = now > before
        yield (
            "worse" if more else "better",
            Statement("more_clips_fail" if more else "fewer_clips_fail", {"first": before, "second": now}),
        )
